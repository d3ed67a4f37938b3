import Foundation

/// A variant, and its file in the format that was asked for.
public struct Candidate: Equatable, Sendable {
    public let variant: Variant
    public let file: ModelFile
}

extension Manifest {
    /// Chooses a variant by what one run may take.
    ///
    /// Of the variants whose file of this format was measured within the budget: the most accurate; of equals the
    /// faster one, then the first. Where none is: the fastest that was measured. Where nothing was measured: the
    /// fallback.
    ///
    /// - Parameters:
    ///   - format: such as "coreml".
    ///   - budgetMs: the milliseconds that one run may take.
    ///   - device: only measurements of this device count; nil: a file's largest of any device does.
    /// - Throws: `BundleError` where no variant has a file of this format.
    public func choose(format: String, budgetMs: Double, device: String? = nil) throws -> Candidate {
        try rank(format: format, budgetMs: budgetMs, device: device)[0]
    }

    /// Lists all variants with a file of this format in the order to try them: every next one is what `choose` would
    /// take if those before were not there.
    public func rank(format: String, budgetMs: Double, device: String? = nil) throws -> [Candidate] {
        var left = candidates(format: format)
        var ranked: [Candidate] = []
        while !left.isEmpty {
            ranked.append(left.remove(at: pick(left, budgetMs: budgetMs, device: device)))
        }
        guard !ranked.isEmpty else { throw BundleError("bundle.json has no file of the format '\(format)'") }
        return ranked
    }

    /// The variants with a file of this format, as bundle.json lists them.
    public func candidates(format: String) -> [Candidate] {
        variants.compactMap { variant in
            variant.files.first { $0.format == format }.map { Candidate(variant: variant, file: $0) }
        }
    }

    /// The place of the one to take; there is one at least.
    private func pick(_ candidates: [Candidate], budgetMs: Double, device: String?) -> Int {
        let timed = candidates.enumerated().compactMap { place, each in
            each.file.latencyMs(device: device).map { Timed(place: place, candidate: each, latencyMs: $0) }
        }
        if let best = timed.filter({ $0.latencyMs <= budgetMs }).min(by: isBetter) { return best.place }
        if let fastest = timed.min(by: { ($0.latencyMs, $0.place) < ($1.latencyMs, $1.place) }) { return fastest.place }
        return candidates.firstIndex { $0.variant.name == fallback } ?? 0
    }
}

extension ModelFile {
    /// The largest milliseconds that were measured, on this device where one is named; nil: not measured.
    public func latencyMs(device: String? = nil) -> Double? {
        latency.filter { $0.unit == "ms" && (device == nil || $0.device == device) }.map(\.value).max()
    }
}

private struct Timed {
    let place: Int
    let candidate: Candidate
    let latencyMs: Double

    var accuracy: Double { candidate.variant.accuracy.value }
}

private func isBetter(_ one: Timed, _ other: Timed) -> Bool {
    (-one.accuracy, one.latencyMs, one.place) < (-other.accuracy, other.latencyMs, other.place)
}
