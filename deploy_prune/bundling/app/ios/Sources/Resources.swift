import Foundation

/// A bundle that lies in a folder: what bundle.json says, and the files.
public struct AppBundle: Sendable {
    /// Where a bundle's folder keeps what this package has as resources.
    public static let prefix = "ios/Sources/DeployPruneBundle/Resources/"

    public let manifest: Manifest
    /// The folder that bundle.json lies in.
    public let folder: URL

    /// Opens the bundle in a folder, such as one that Background Assets downloaded.
    ///
    /// - Parameter trustedKey: the ed25519 public key that must have signed bundle.json, see `checkSignature`; nil:
    ///   signatures are not looked at. `bundle.json.sig` is then to lie beside it.
    /// - Throws: `BundleError` where bundle.json is of another schema, incomplete or signed by another one.
    public init(in folder: URL, trustedKey: String? = nil) throws {
        let json: Data
        do {
            json = try Data(contentsOf: folder.appendingPathComponent("bundle.json"))
        } catch {
            throw BundleError("bundle.json is not in the bundle: \(error.localizedDescription)")
        }
        if let trustedKey {
            let signature = try? Data(contentsOf: folder.appendingPathComponent("bundle.json.sig"))
            try checkSignature(of: json, signature: signature, trustedKey: trustedKey)
        }
        self.manifest = try Manifest(json: json)
        self.folder = folder
    }

    /// Opens the bundle that is part of this package.
    public static func load(trustedKey: String? = nil) throws -> AppBundle {
        guard let folder = Bundle.module.resourceURL else { throw BundleError("the package has no resources") }
        return try AppBundle(in: folder, trustedKey: trustedKey)
    }

    /// Where a file lies that bundle.json names by its path in the bundle's folder.
    public func url(of path: String) throws -> URL {
        let safe = try requireSafePath(path)
        let own = safe.hasPrefix(Self.prefix) ? String(safe.dropFirst(Self.prefix.count)) : safe
        return folder.appendingPathComponent(own)
    }

    /// The files that bundle.json lists for this package's resources.
    public var resources: [ListedFile] { manifest.files.filter { $0.path.hasPrefix(Self.prefix) } }

    /// Checks that a model is the one that bundle.json lists.
    public func check(_ file: ModelFile) throws {
        try checkSha256(file.path, expected: file.sha256, at: url(of: file.path))
    }
}
