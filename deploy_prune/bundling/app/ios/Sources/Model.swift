import Foundation

// What runs a model: Core AI from iOS and macOS 27 on, else Core ML. Not tried on a device, nor compiled with Apple's
// frameworks so far; GoldenPairTests is what tells there.

/// A model that runs.
public protocol Model: Sendable {
    /// Which of the bundle's variants it is.
    var candidate: Candidate { get }

    /// Runs the network on one image.
    ///
    /// - Parameter pixels: height x width x channels bytes, RGB, in the size of the manifest's input.
    /// - Returns: the outputs in the manifest's order.
    func run(_ pixels: [UInt8]) async throws -> [[Float]]
}

extension AppBundle {
    /// Opens the most accurate variant within a budget, or the next one that opens: by Core AI where the system has it
    /// and the bundle a file for it, else by Core ML.
    ///
    /// - Parameters:
    ///   - budgetMs: the milliseconds that one run may take, see `Manifest.choose`.
    ///   - device: the device whose measurements count, as bundle.json names it; nil: the slowest one's.
    /// - Throws: `BundleError` where none opens, or a file is not what bundle.json lists.
    public func openModel(budgetMs: Double, device: String? = nil) async throws -> any Model {
        var reasons: [String] = []
        for format in AppBundle.formats {
            for candidate in (try? manifest.rank(format: format, budgetMs: budgetMs, device: device)) ?? [] {
                do {
                    return try await open(candidate)
                } catch let error as BundleError {
                    throw error
                } catch {
                    reasons.append("\(candidate.file.path): \(error.localizedDescription)")
                }
            }
        }
        throw BundleError("no variant of '\(manifest.name)' opens here (\(reasons.joined(separator: "; ")))")
    }

    /// The formats that this system runs, the first is tried first; none where there is neither Core AI nor Core ML.
    public static var formats: [String] {
        var known: [String] = []
        #if canImport(CoreAI) && !targetEnvironment(simulator)
        if #available(iOS 27, macOS 27, tvOS 27, watchOS 27, visionOS 27, *) { known.append("coreai") }
        #endif
        #if canImport(CoreML)
        known.append("coreml")
        #endif
        return known
    }

    /// Opens one variant in the format of its file.
    public func open(_ candidate: Candidate) async throws -> any Model {
        try check(candidate.file)
        #if canImport(CoreAI) && !targetEnvironment(simulator)
        if candidate.file.format == "coreai", #available(iOS 27, macOS 27, tvOS 27, watchOS 27, visionOS 27, *) {
            return try await CoreAIModel(candidate, manifest: manifest, at: url(of: candidate.file.path))
        }
        #endif
        #if canImport(CoreML)
        if candidate.file.format == "coreml" {
            return try await CoreMLModel(candidate, manifest: manifest, at: url(of: candidate.file.path))
        }
        #endif
        throw BundleError("nothing here runs \(candidate.file.path), which is of the format '\(candidate.file.format)'")
    }
}
