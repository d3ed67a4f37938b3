// Stands in for Apple's CryptoKit, as documented: what the loader calls, so that it can be type-checked elsewhere.
import Foundation

public struct SHA256 {
    public init() {}
    public mutating func update<Bytes: DataProtocol>(data: Bytes) {}
    public func finalize() -> [UInt8] { [] }
}

public enum Curve25519 {
    public enum Signing {
        public struct PublicKey {
            public init<Bytes: ContiguousBytes>(rawRepresentation: Bytes) throws {}
            public func isValidSignature<Signed: DataProtocol, Message: DataProtocol>(
                _ signature: Signed, for message: Message
            ) -> Bool { true }
        }
    }
}
