#if canImport(CoreML)
import CoreML
import CoreVideo
import Foundation

// Not tried on a device, nor compiled with Apple's frameworks so far.

/// A .mlpackage that Core ML compiled on this device.
final class CoreMLModel: Model, @unchecked Sendable {  // MLModel may be used by several threads
    let candidate: Candidate
    private let manifest: Manifest
    private let model: MLModel

    init(_ candidate: Candidate, manifest: Manifest, at url: URL) async throws {
        let compiled = try await compile(url, sha256: candidate.file.sha256)
        self.candidate = candidate
        self.manifest = manifest
        self.model = try await MLModel.load(contentsOf: compiled, configuration: MLModelConfiguration())
    }

    func run(_ pixels: [UInt8]) async throws -> [[Float]] {
        let input = try MLDictionaryFeatureProvider(dictionary: [manifest.input.name: feature(of: pixels)])
        let answer = try predict(input)
        return try manifest.outputs.map { output in
            guard let array = answer.featureValue(for: output.name)?.multiArrayValue else {
                throw BundleError("\(candidate.file.path) gives no output '\(output.name)'")
            }
            return MLShapedArray<Float>(converting: array).scalars
        }
    }

    /// The prediction that waits: the one that does not is of iOS 17.
    private func predict(_ input: any MLFeatureProvider) throws -> any MLFeatureProvider {
        try model.prediction(from: input)
    }

    private func feature(of pixels: [UInt8]) throws -> MLFeatureValue {
        let (input, file) = (manifest.input, candidate.file)
        guard file.baked else { return feature(of: try preprocess(pixels, for: input, layout: file.layout)) }
        if file.takes == .uint8 { return MLFeatureValue(pixelBuffer: try makePixelBuffer(pixels, for: input)) }
        return feature(of: try arrange(pixels, for: input, layout: file.layout).map(Float.init))
    }

    private func feature(of values: [Float]) -> MLFeatureValue {
        let (input, layout) = (manifest.input, candidate.file.layout)
        let shape = layout == .nchw ? input.shape : [input.height, input.width, input.channels]
        return MLFeatureValue(shapedArray: MLShapedArray<Float>(scalars: values, shape: [1] + shape))
    }
}

/// Compiles a package once, and keeps the result among what the system may delete.
private func compile(_ package: URL, sha256: String) async throws -> URL {
    let caches = try FileManager.default.url(
        for: .cachesDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
    let kept = caches.appendingPathComponent("\(sha256).mlmodelc")
    if FileManager.default.fileExists(atPath: kept.path) { return kept }
    let compiled = try await MLModel.compileModel(at: package)
    do {
        try FileManager.default.moveItem(at: compiled, to: kept)
        return kept
    } catch {
        return compiled
    }
}

/// The image as Core ML takes images of bytes: BGRA, or grey.
private func makePixelBuffer(_ pixels: [UInt8], for input: ImageInput) throws -> CVPixelBuffer {
    let grey = input.channels == 1
    let kind = grey ? kCVPixelFormatType_OneComponent8 : kCVPixelFormatType_32BGRA
    var made: CVPixelBuffer?
    CVPixelBufferCreate(nil, input.width, input.height, kind, nil, &made)
    guard let buffer = made, pixels.count == input.size, grey || input.channels == 3 else {
        throw BundleError("no image of \(input.width) x \(input.height) with \(input.channels) channels can be made")
    }
    CVPixelBufferLockBaseAddress(buffer, [])
    defer { CVPixelBufferUnlockBaseAddress(buffer, []) }
    guard let base = CVPixelBufferGetBaseAddress(buffer)?.assumingMemoryBound(to: UInt8.self) else {
        throw BundleError("an image without memory")
    }
    let rowBytes = CVPixelBufferGetBytesPerRow(buffer)
    for place in 0..<input.height * input.width {
        let target = base + place / input.width * rowBytes + place % input.width * (grey ? 1 : 4)
        if grey {
            target[0] = pixels[place]
        } else {
            let (red, green, blue) = (pixels[place * 3], pixels[place * 3 + 1], pixels[place * 3 + 2])
            (target[0], target[1], target[2], target[3]) = (blue, green, red, 255)
        }
    }
    return buffer
}
#endif
