import DeployPruneBundle
import XCTest

/// Holds this package's resources, preprocessing and models against what they were when the bundle was written.
final class GoldenPairTests: XCTestCase {
    func testEveryResourceIsTheOneThatTheManifestLists() throws {
        let bundle = try AppBundle.load()
        XCTAssertFalse(bundle.resources.isEmpty, "bundle.json lists no file of this package")
        for file in bundle.resources {
            try checkSha256(file.path, expected: file.sha256, at: bundle.url(of: file.path))
        }
    }

    func testEveryModelIsTheOneThatTheManifestLists() throws {
        let bundle = try AppBundle.load()
        for format in ["coreml", "coreai"] {
            for candidate in bundle.manifest.candidates(format: format) {
                try bundle.check(candidate.file)
            }
        }
    }

    func testPreprocessingGivesTheGoldenInputsBitForBit() throws {
        let bundle = try AppBundle.load()
        let pairs = try zip(GoldenPairs(of: bundle).pixels(), GoldenPairs(of: bundle).inputs())
        for (image, (pixels, expected)) in pairs.enumerated() {
            let actual = try preprocess(pixels, for: bundle.manifest.input, layout: .nchw)
            XCTAssertEqual(actual.map(\.bitPattern), expected.map(\.bitPattern), "image \(image)")
        }
    }

    func testEveryVariantGivesTheGoldenAnswers() async throws {
        let bundle = try AppBundle.load()
        try XCTSkipIf(AppBundle.formats.isEmpty, "neither Core ML nor Core AI can be imported here")
        for candidate in AppBundle.formats.flatMap({ bundle.manifest.candidates(format: $0) }) {
            try await compare(try await bundle.open(candidate), in: bundle)
        }
    }

    private func compare(_ model: any Model, in bundle: AppBundle) async throws {
        let (golden, file) = (GoldenPairs(of: bundle), model.candidate.file)
        let pairs = try zip(golden.pixels(), golden.outputs(of: model.candidate.variant))
        for (image, (pixels, expected)) in pairs.enumerated() {
            for (answer, output) in zip(try await model.run(pixels), expected) {
                let error = try relativeError(answer, output)
                XCTAssertLessThanOrEqual(error, file.tolerance, "\(file.path), image \(image)")
            }
        }
    }
}
