// Stands in for Apple's Core ML, as documented: what the loader calls, so that it can be type-checked elsewhere.
@_exported import CoreVideo
import Foundation

public class MLModelConfiguration {
    public init() {}
}

public protocol MLFeatureProvider {
    func featureValue(for featureName: String) -> MLFeatureValue?
}

public class MLDictionaryFeatureProvider: MLFeatureProvider {
    public init(dictionary: [String: Any]) throws {}
    public func featureValue(for featureName: String) -> MLFeatureValue? { nil }
}

public class MLMultiArray {}

public struct MLShapedArray<Scalar> {
    public init(scalars: some Sequence<Scalar>, shape: [Int]) { self.scalars = Array(scalars) }
    public init(converting: MLMultiArray) { scalars = [] }
    public let scalars: [Scalar]
}

public class MLFeatureValue {
    public init(pixelBuffer: CVPixelBuffer) {}
    public init<Scalar>(shapedArray: MLShapedArray<Scalar>) {}
    public var multiArrayValue: MLMultiArray? { nil }
}

public class MLModel {
    public static func compileModel(at url: URL) async throws -> URL { url }
    public static func load(contentsOf url: URL, configuration: MLModelConfiguration) async throws -> MLModel {
        MLModel()
    }
    public func prediction(from input: any MLFeatureProvider) throws -> any MLFeatureProvider { input }
}
