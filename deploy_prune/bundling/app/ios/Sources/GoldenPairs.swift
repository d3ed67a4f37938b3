import Foundation

/// Images, what preprocessing must make of them, and what each variant answers.
public struct GoldenPairs {
    private let bundle: AppBundle

    public init(of bundle: AppBundle) {
        self.bundle = bundle
    }

    /// The images: height x width x channels bytes each.
    public func pixels() throws -> [[UInt8]] {
        try rows(of: [UInt8](read(bundle.manifest.golden.pixels)))
    }

    /// The inputs that preprocessing must give, channels first.
    public func inputs() throws -> [[Float]] {
        try rows(of: readFloats(read(bundle.manifest.golden.input)))
    }

    /// What a variant answers: images x outputs.
    public func outputs(of variant: Variant) throws -> [[[Float]]] {
        let outputs = try variant.golden.map { try rows(of: readFloats(read($0))) }
        return (0..<bundle.manifest.golden.images).map { image in outputs.map { $0[image] } }
    }

    private func read(_ path: String) throws -> Data {
        try Data(contentsOf: bundle.url(of: path))
    }

    private func rows<Value>(of values: [Value]) throws -> [[Value]] {
        let images = bundle.manifest.golden.images
        guard images > 0, values.count.isMultiple(of: images) else {
            throw BundleError("\(values.count) golden numbers are no \(images) images")
        }
        let size = values.count / images
        return (0..<images).map { Array(values[$0 * size..<($0 + 1) * size]) }
    }
}

/// The class with the highest score; `text` is its label, or its number where there are no labels.
public struct TopLabel: Equatable, Sendable {
    public let index: Int
    public let text: String
    public let score: Float
}

/// Finds the class with the highest score; of equals the first.
public func topLabel(_ scores: [Float], labels: [String]) throws -> TopLabel {
    guard let score = scores.max(), let index = scores.firstIndex(of: score) else {
        throw BundleError("there are no scores to read a label from")
    }
    guard labels.isEmpty || labels.count == scores.count else {
        throw BundleError("\(scores.count) scores for \(labels.count) labels")
    }
    return TopLabel(index: index, text: labels.isEmpty ? "\(index)" : labels[index], score: score)
}

/// How far an answer is from the golden one: max |actual - expected| / max |expected|; infinite where one is not
/// finite.
public func relativeError(_ actual: [Float], _ expected: [Float]) throws -> Double {
    guard actual.count == expected.count else {
        throw BundleError("an output of \(actual.count) numbers, the golden one has \(expected.count)")
    }
    guard (actual + expected).allSatisfy(\.isFinite) else { return .infinity }
    let difference = zip(actual, expected).map { abs(Double($0) - Double($1)) }.max() ?? 0
    let scale = expected.map { abs(Double($0)) }.max() ?? 0
    return difference == 0 ? 0 : difference / scale
}

/// The numbers of a file of little-endian float32.
public func readFloats(_ data: Data) throws -> [Float] {
    guard data.count.isMultiple(of: 4) else { throw BundleError("\(data.count) bytes are no float32 numbers") }
    let bytes = [UInt8](data)
    return stride(from: 0, to: bytes.count, by: 4).map { place in
        Float(bitPattern: (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[place + $1]) << UInt32(8 * $1) })
    }
}
