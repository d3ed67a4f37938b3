import Foundation

#if canImport(CryptoKit)
import CryptoKit
#endif

/// What takes in bytes, and gives their SHA-256.
public protocol Sha256Hasher {
    init()
    mutating func update(_ data: Data)
    /// The digest in hex.
    func finish() -> String
}

/// A hasher of this platform: CryptoKit's where there is one.
public func makeHasher() -> any Sha256Hasher {
    #if canImport(CryptoKit)
    return CryptoKitSha256()
    #else
    return PureSha256()
    #endif
}

/// The SHA-256 of some bytes, in hex.
public func sha256(_ data: Data) -> String {
    var hasher = makeHasher()
    hasher.update(data)
    return hasher.finish()
}

/// The SHA-256 of a file, or of the folder that some formats are, in hex.
///
/// That of a folder is over its files in the order of their paths: path, NUL, size, NUL, content.
public func sha256(at url: URL) throws -> String {
    var hasher = makeHasher()
    if try url.resourceValues(forKeys: [.isDirectoryKey]).isDirectory == true {
        for path in try listFiles(in: url) {
            let file = url.appendingPathComponent(path)
            let size = try file.resourceValues(forKeys: [.fileSizeKey]).fileSize ?? 0
            hasher.update(Data("\(path)\0\(size)\0".utf8))
            try update(&hasher, withFileAt: file)
        }
    } else {
        try update(&hasher, withFileAt: url)
    }
    return hasher.finish()
}

/// Checks a file's content.
///
/// - Throws: `BundleError` where it is not what bundle.json lists; the file is named.
public func checkSha256(_ path: String, expected: String, at url: URL) throws {
    let actual: String
    do {
        actual = try sha256(at: url)
    } catch {
        throw BundleError("\(path) is not in the bundle: \(error.localizedDescription)")
    }
    guard actual == expected else {
        throw BundleError(
            "\(path) is not the file of the bundle: its sha256 is \(actual), bundle.json lists \(expected)")
    }
}

/// Checks who signed bundle.json.
///
/// - Parameters:
///   - json: the bytes of bundle.json.
///   - signature: the 64 bytes of bundle.json.sig; nil: there is no such file.
///   - trustedKey: the public key that the app trusts, 64 digits in hex. It belongs into the app's code: the one in
///     bundle.json can be replaced together with the signature.
/// - Throws: `BundleError` where another one or nobody signed it, or nothing here checks ed25519 signatures.
public func checkSignature(of json: Data, signature: Data?, trustedKey: String) throws {
    let signedBy = try Manifest(json: json).signedBy
    guard !signedBy.isEmpty else { throw BundleError("bundle.json is not signed") }
    guard signedBy.lowercased() == trustedKey.lowercased() else {
        throw BundleError("bundle.json is signed by \(signedBy)")
    }
    guard let signature else { throw BundleError("bundle.json is signed, and bundle.json.sig is missing") }
    guard try verifyEd25519(json, signature: signature, key: trustedKey) else {
        throw BundleError("bundle.json.sig does not fit bundle.json: one of them was changed")
    }
}

private func verifyEd25519(_ message: Data, signature: Data, key: String) throws -> Bool {
    #if canImport(CryptoKit)
    guard let raw = bytes(ofHex: key), let trusted = try? Curve25519.Signing.PublicKey(rawRepresentation: raw) else {
        throw BundleError("'\(key)' is no ed25519 public key")
    }
    return trusted.isValidSignature(signature, for: message)
    #else
    throw BundleError("there is no CryptoKit here to check ed25519 with: nothing checks bundle.json.sig")
    #endif
}

private func bytes(ofHex text: String) -> Data? {
    let digits = text.compactMap(\.hexDigitValue)
    guard digits.count == text.count, digits.count.isMultiple(of: 2) else { return nil }
    return Data(stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) })
}

/// Paths below a folder, in the order of their bytes.
private func listFiles(in folder: URL) throws -> [String] {
    let paths = try FileManager.default.subpathsOfDirectory(atPath: folder.path)
    let files = try paths.filter {
        try folder.appendingPathComponent($0).resourceValues(forKeys: [.isDirectoryKey]).isDirectory == false
    }
    return files.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
}

private func update(_ hasher: inout any Sha256Hasher, withFileAt url: URL) throws {
    let handle = try FileHandle(forReadingFrom: url)
    defer { try? handle.close() }
    while let chunk = try handle.read(upToCount: 1 << 20), !chunk.isEmpty {
        hasher.update(chunk)
    }
}

#if canImport(CryptoKit)
/// CryptoKit's SHA-256.
public struct CryptoKitSha256: Sha256Hasher {
    private var state = SHA256()

    public init() {}

    public mutating func update(_ data: Data) {
        state.update(data: data)
    }

    public func finish() -> String {
        state.finalize().map { String(format: "%02x", $0) }.joined()
    }
}
#endif

/// SHA-256 in plain Swift (FIPS 180-4), for platforms without CryptoKit.
public struct PureSha256: Sha256Hasher {
    private var state = PureSha256.initial
    private var pending: [UInt8] = []
    private var count: UInt64 = 0

    public init() {}

    public mutating func update(_ data: Data) {
        count += UInt64(data.count)
        pending.append(contentsOf: data)
        let whole = pending.count - pending.count % 64
        for start in stride(from: 0, to: whole, by: 64) {
            state = PureSha256.compress(state, pending[start..<start + 64])
        }
        pending.removeFirst(whole)
    }

    public func finish() -> String {
        let padded = pending + [0x80] + [UInt8](repeating: 0, count: (119 - pending.count) % 64)
        let length = (0..<8).map { UInt8(truncatingIfNeeded: (count &* 8) >> UInt64(56 - 8 * $0)) }
        let last = padded + length
        let end = stride(from: 0, to: last.count, by: 64).reduce(state) { state, start in
            PureSha256.compress(state, last[start..<start + 64])
        }
        return end.map { String(format: "%08x", $0) }.joined()
    }

    private static func compress(_ state: [UInt32], _ block: ArraySlice<UInt8>) -> [UInt32] {
        let words = schedule(block)
        var (a, b, c, d) = (state[0], state[1], state[2], state[3])
        var (e, f, g, h) = (state[4], state[5], state[6], state[7])
        for round in 0..<64 {
            let sum1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)
            let first = h &+ sum1 &+ ((e & f) ^ (~e & g)) &+ constants[round] &+ words[round]
            let sum0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)
            let second = sum0 &+ ((a & b) ^ (a & c) ^ (b & c))
            (h, g, f, e, d, c, b, a) = (g, f, e, d &+ first, c, b, a, first &+ second)
        }
        return zip(state, [a, b, c, d, e, f, g, h]).map { $0 &+ $1 }
    }

    private static func schedule(_ block: ArraySlice<UInt8>) -> [UInt32] {
        var words = stride(from: block.startIndex, to: block.endIndex, by: 4).map { place in
            block[place..<place + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        }
        for place in 16..<64 {
            let (early, late) = (words[place - 15], words[place - 2])
            let sigma0 = rotate(early, 7) ^ rotate(early, 18) ^ (early >> 3)
            let sigma1 = rotate(late, 17) ^ rotate(late, 19) ^ (late >> 10)
            words.append(words[place - 16] &+ sigma0 &+ words[place - 7] &+ sigma1)
        }
        return words
    }

    private static func rotate(_ word: UInt32, _ bits: UInt32) -> UInt32 { word >> bits | word << (32 - bits) }

    private static let initial: [UInt32] = [
        0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
    ]

    private static let constants: [UInt32] = [
        0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
        0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
        0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
        0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
        0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
        0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
        0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
        0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
    ]
}
