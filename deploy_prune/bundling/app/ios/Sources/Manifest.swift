import Foundation

/// Says what is wrong with a bundle, and names the file that is.
public struct BundleError: Error, Equatable, LocalizedError, CustomStringConvertible {
    public let description: String
    public var errorDescription: String? { description }

    public init(_ description: String) {
        self.description = description
    }
}

/// What bundle.json says.
public struct Manifest: Codable, Equatable, Sendable {
    /// The one schema of bundle.json that this code reads.
    public static let schema = 1

    public let name: String
    /// Names of the classes in the order of the scores; may be empty.
    public let labels: [String]
    /// The variant to take where nothing was measured.
    public let fallback: String
    /// The ed25519 public key that signed bundle.json, in hex; empty: it is not signed.
    public let signedBy: String
    public let input: ImageInput
    public let outputs: [TensorSpec]
    public let golden: GoldenSpec
    public let groups: [SocGroup]
    public let variants: [Variant]
    /// Every other file of the bundle's folder.
    public let files: [ListedFile]
}

/// The image that a network takes, and what turns pixels into it.
public struct ImageInput: Codable, Equatable, Sendable {
    public let name: String
    /// Channels, height, width.
    public let shape: [Int]
    /// A number per channel that pixels are multiplied by.
    public let scale: [Float]
    /// A number per channel that is subtracted afterwards.
    public let shift: [Float]

    public init(name: String, shape: [Int], scale: [Float], shift: [Float]) {
        self.name = name
        self.shape = shape
        self.scale = scale
        self.shift = shift
    }

    public var channels: Int { shape[0] }
    public var height: Int { shape[1] }
    public var width: Int { shape[2] }
    /// How many numbers an image has.
    public var size: Int { shape.reduce(1, *) }
}

/// A tensor without its batch axis.
public struct TensorSpec: Codable, Equatable, Sendable {
    public let name: String
    public let shape: [Int]
    /// How many numbers it has.
    public var size: Int { shape.reduce(1, *) }
}

/// Images, and what preprocessing must make of them; paths from the bundle's folder.
public struct GoldenSpec: Codable, Equatable, Sendable {
    public let images: Int
    public let pixels: String
    public let input: String
}

/// The variant that an AI pack delivers to a group of SoCs, on Android.
public struct SocGroup: Codable, Equatable, Sendable {
    public let name: String
    public let variant: String
}

/// One network of the bundle, in all of its formats.
public struct Variant: Codable, Equatable, Sendable {
    public let name: String
    public let accuracy: Accuracy
    /// What it answers to the golden images, in any of its formats: a file per output, in their order.
    public let golden: [String]
    public let files: [ModelFile]
}

/// How often a network was right, by some metric.
public struct Accuracy: Codable, Equatable, Sendable {
    public let metric: String
    public let value: Double
}

/// The order of a tensor's axes.
public enum Layout: String, Codable, Sendable {
    case nhwc, nchw
}

/// What a file's input is made of.
public enum ElementType: String, Codable, Sendable {
    case float32, uint8
}

/// A model file, or the folder that some formats are, and how to use it.
public struct ModelFile: Codable, Equatable, Sendable {
    public let path: String
    public let format: String
    public let sha256: String
    public let sizeBytes: Int
    public let layout: Layout
    public let takes: ElementType
    /// The file takes pixels as they are, and does the preprocessing itself.
    public let baked: Bool
    /// What it gives: "scores" or "probabilities".
    public let gives: String
    /// The relative error that its answers may have.
    public let tolerance: Double
    public let latency: [Latency]
}

/// One measurement.
public struct Latency: Codable, Equatable, Sendable {
    public let device: String
    public let value: Double
    public let unit: String
}

/// A file of the bundle's folder.
public struct ListedFile: Codable, Equatable, Sendable {
    public let path: String
    public let sha256: String
    public let sizeBytes: Int
}

extension Manifest {
    /// Reads bundle.json.
    ///
    /// - Throws: `BundleError` where it is no JSON, of another schema, incomplete, or names a path outside of the
    ///   bundle.
    public init(json: Data) throws {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        do {
            let found = try decoder.decode(Schema.self, from: json).schema
            guard found == Manifest.schema else {
                let problem = "bundle.json is of schema \(found), this code reads schema \(Manifest.schema)"
                throw BundleError("\(problem): take the loader that lies in the same bundle")
            }
            self = try decoder.decode(Manifest.self, from: json)
        } catch let error as DecodingError {
            throw BundleError("bundle.json: \(error.inWords)")
        }
        try checkPaths()
        try checkNames()
    }

    private func checkPaths() throws {
        let models = variants.flatMap { $0.golden + $0.files.map(\.path) }
        for path in models + files.map(\.path) + [golden.pixels, golden.input] {
            try requireSafePath(path)
        }
    }

    private func checkNames() throws {
        let (shape, names) = (input.shape, variants.map(\.name))
        let isImage = shape.count == 3 && shape.allSatisfy { $0 > 0 }
        guard isImage, input.scale.count == shape[0], input.shift.count == shape[0] else {
            let numbers = "\(input.scale.count) scales and \(input.shift.count) shifts"
            throw BundleError("bundle.json: input has shape \(shape), \(numbers)")
        }
        if let unknown = ([fallback] + groups.map(\.variant)).first(where: { !names.contains($0) }) {
            throw BundleError("bundle.json names the variant '\(unknown)', and has \(names)")
        }
        if let variant = variants.first(where: { $0.golden.count != outputs.count }) {
            let counted = "\(variant.golden.count) golden outputs of \(outputs.count)"
            throw BundleError("bundle.json: \(variant.name) has \(counted)")
        }
    }
}

/// Gives back a path of a bundle, '/' between its parts.
///
/// - Throws: `BundleError` where it leads out of the bundle, or may do so on some system.
@discardableResult
public func requireSafePath(_ path: String) throws -> String {
    let parts = path.split(separator: "/", omittingEmptySubsequences: false)
    let isOdd = path.unicodeScalars.contains { $0 == "\\" || $0 == ":" || $0.properties.generalCategory == .control }
    guard !isOdd, parts.allSatisfy({ !["", ".", ".."].contains($0) }) else {
        throw BundleError("bundle.json names '\(path)', which is no path inside of the bundle")
    }
    return path
}

private struct Schema: Codable {
    let schema: Int
}

extension DecodingError {
    fileprivate var inWords: String {
        switch self {
        case .keyNotFound(let key, let context): return "\(place(context.codingPath + [key])) is missing"
        case .typeMismatch(_, let context), .valueNotFound(_, let context): return problem(context)
        case .dataCorrupted(let context): return problem(context)
        @unknown default: return "\(self)"
        }
    }

    private func problem(_ context: Context) -> String { "\(place(context.codingPath)): \(context.debugDescription)" }

    private func place(_ path: [CodingKey]) -> String {
        path.isEmpty ? "the whole" : path.map { $0.intValue.map { "[\($0)]" } ?? $0.stringValue }.joined(separator: ".")
    }
}
