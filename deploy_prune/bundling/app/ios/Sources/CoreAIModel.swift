#if canImport(CoreAI) && !targetEnvironment(simulator)
import CoreAI
import Foundation

// Not tried on a device, nor compiled with Apple's frameworks so far.

/// A .aimodel that Core AI specialised for this device: seconds at the first start, then from its cache.
@available(iOS 27, macOS 27, tvOS 27, watchOS 27, visionOS 27, *)
struct CoreAIModel: Model {
    let candidate: Candidate
    private let manifest: Manifest
    private let function: InferenceFunction

    init(_ candidate: Candidate, manifest: Manifest, at url: URL) async throws {
        let model = try await AIModel(contentsOf: url)
        guard let name = model.functionNames.first, let function = try model.loadFunction(named: name) else {
            throw BundleError("\(candidate.file.path) has no function to run")
        }
        self.candidate = candidate
        self.manifest = manifest
        self.function = function
    }

    func run(_ pixels: [UInt8]) async throws -> [[Float]] {
        var outputs = try await function.run(inputs: [manifest.input.name: makeInput(pixels)])
        var answers: [[Float]] = []
        for output in manifest.outputs {
            guard let value = outputs.remove(output.name), let array = value.ndArray else {
                throw BundleError("\(candidate.file.path) gives no output '\(output.name)'")
            }
            answers.append(try readFloats(array))
        }
        return answers
    }

    private func makeInput(_ pixels: [UInt8]) throws -> NDArray {
        let (input, file) = (manifest.input, candidate.file)
        let shape = [1] + (file.layout == .nchw ? input.shape : [input.height, input.width, input.channels])
        guard file.baked else {
            return NDArray(scalars: try preprocess(pixels, for: input, layout: file.layout), shape: shape)
        }
        let arranged = try arrange(pixels, for: input, layout: file.layout)
        return file.takes == .uint8
            ? NDArray(scalars: arranged, shape: shape) : NDArray(scalars: arranged.map(Float.init), shape: shape)
    }

    private func readFloats(_ array: NDArray) throws -> [Float] {
        switch array.scalarType {
        case .float32: return try readElements(array, as: Float.self)
        #if arch(arm64)
        case .float16: return try readElements(array, as: Float16.self).map(Float.init)
        #endif
        default: throw BundleError("\(candidate.file.path) gives \(array.scalarType), which this code does not read")
        }
    }

    private func readElements<Scalar: BitwiseCopyable>(_ array: NDArray, as type: Scalar.Type) throws -> [Scalar] {
        let view = array.view(as: type)
        guard let elements = view.contiguousElements else {
            throw BundleError("\(candidate.file.path) gives an output with gaps, which this code does not read")
        }
        return (0..<elements.count).map { elements[$0] }
    }
}
#endif
