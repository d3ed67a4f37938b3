// Stands in for Apple's Core AI, as documented: what the loader calls, so that it can be type-checked elsewhere.
import Foundation

public struct AIModel: Sendable {
    public init(contentsOf url: URL) async throws {}
    public var functionNames: [String] { [] }
    public func loadFunction(named name: String) throws -> InferenceFunction? { nil }
}

public struct InferenceFunction: Sendable {
    public struct Outputs: ~Copyable {
        public mutating func remove(_ name: String) -> InferenceValue? { nil }
    }

    public func run(inputs: [String: NDArray]) async throws -> Outputs { Outputs() }
}

public struct InferenceValue {
    public var ndArray: NDArray? { nil }
}

public struct NDArray: Sendable {
    public enum ScalarType: Sendable { case float16, float32, uint8 }

    /// A `Span` in Apple's, which this compiler does not have.
    public struct Elements<Scalar> {
        public var count: Int { 0 }
        public subscript(_ place: Int) -> Scalar { fatalError() }
    }

    public struct View<Scalar> {
        public var contiguousElements: Elements<Scalar>? { nil }
    }

    public init<Scalar: BitwiseCopyable>(scalars: some Sequence<Scalar>, shape: [Int]) {}
    public var scalarType: ScalarType { .float32 }
    public func view<Scalar: BitwiseCopyable>(as type: Scalar.Type = Scalar.self) -> View<Scalar> { View() }
}
