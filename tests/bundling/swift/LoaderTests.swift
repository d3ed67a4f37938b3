import DeployPruneBundle
import XCTest

/// What the loader does beside the golden pairs, on files that the tests in Python have written.
final class LoaderTests: XCTestCase {
    private var folder: URL { URL(fileURLWithPath: ProcessInfo.processInfo.environment["CASES"] ?? "/nowhere") }

    func testPreprocessingGivesWhatTrainingDoesToTheLastBit() throws {
        let cases = try JSONDecoder().decode([ImageInput].self, from: read("cases.json"))
        XCTAssertEqual(cases.count, 200)
        var pixels = try [UInt8](read("pixels.bin"))[...]
        var expected = try readFloats(read("expected.bin"))[...]
        for (number, input) in cases.enumerated() {
            let image = Array(pixels.prefix(input.size))
            pixels = pixels.dropFirst(input.size)
            for layout in [Layout.nchw, .nhwc] {
                let actual = try preprocess(image, for: input, layout: layout)
                XCTAssertEqual(actual.map(\.bitPattern), expected.prefix(input.size).map(\.bitPattern), "\(number)")
                expected = expected.dropFirst(input.size)
            }
        }
        XCTAssertTrue(pixels.isEmpty && expected.isEmpty)
    }

    func testTheLoaderReadsWhatBundleWrites() throws {
        let bundle = try AppBundle(in: folder.appendingPathComponent("made/\(AppBundle.prefix)"))
        XCTAssertEqual(bundle.manifest.labels.last, "größe")
        XCTAssertFalse(bundle.resources.isEmpty)
        for file in bundle.resources {
            try checkSha256(file.path, expected: file.sha256, at: bundle.url(of: file.path))
        }
        let golden = GoldenPairs(of: bundle)
        for (pixels, expected) in try zip(golden.pixels(), golden.inputs()) {
            XCTAssertEqual(try preprocess(pixels, for: bundle.manifest.input, layout: .nchw), expected)
        }
    }

    func testTheLoaderChoosesAsTheTableSays() throws {
        struct Case: Decodable {
            let bundle: String
            let budget_ms: Double
            let device: String?
            let order: [String]
        }
        let cases = try JSONDecoder().decode([Case].self, from: read("choices.json"))
        XCTAssertFalse(cases.isEmpty)
        for each in cases {
            let manifest = try Manifest(json: Data(each.bundle.utf8))
            let ask = (format: "tflite", budgetMs: each.budget_ms, device: each.device)
            guard let first = each.order.first else {
                XCTAssertEqual(
                    refusal(try manifest.rank(format: ask.format, budgetMs: ask.budgetMs, device: ask.device)),
                    "bundle.json has no file of the format 'tflite'")
                continue
            }
            let order = try manifest.rank(format: ask.format, budgetMs: ask.budgetMs, device: ask.device)
            XCTAssertEqual(order.map(\.variant.name), each.order)
            let chosen = try manifest.choose(format: ask.format, budgetMs: ask.budgetMs, device: ask.device)
            XCTAssertEqual(chosen.variant.name, first)
        }
    }

    func testWhatNoLoaderOfThisSchemaCanUseIsRefused() throws {
        struct Case: Decodable {
            let bundle: String
            let refusal: String
        }
        for each in try JSONDecoder().decode([Case].self, from: read("refusals.json")) {
            XCTAssertEqual(refusal(try Manifest(json: Data(each.bundle.utf8))), each.refusal)
        }
    }

    func testHashesAreThoseOfTheStandard() throws {
        // FIPS 180-4's examples, and lengths around a block's end.
        let one = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        let two = "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        let none = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        XCTAssertEqual(sha256(Data("abc".utf8)), one)
        XCTAssertEqual(sha256(Data("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".utf8)), two)
        XCTAssertEqual(sha256(Data()), none)
        let digests = try JSONDecoder().decode([String].self, from: read("digests.json"))
        for (length, digest) in digests.enumerated() {
            var hasher = PureSha256()
            hasher.update(Data(repeating: 97, count: length / 2))
            hasher.update(Data(repeating: 97, count: length - length / 2))
            XCTAssertEqual(hasher.finish(), digest, "\(length) bytes")
        }
    }

    func testAChangedFileIsRefusedByItsName() throws {
        let copy = try copyOfResources()
        let path = "golden/half/output.bin"
        try Data([1, 2, 3, 4]).write(to: copy.appendingPathComponent(path))
        let bundle = try AppBundle(in: copy)
        let listed = try XCTUnwrap(bundle.resources.first { $0.path.hasSuffix(path) })
        let said = refusal(try checkSha256(listed.path, expected: listed.sha256, at: bundle.url(of: listed.path)))
        XCTAssertTrue(said.hasPrefix("\(AppBundle.prefix)\(path) is not the file of the bundle: its sha256 is"), said)
        let half = try XCTUnwrap(bundle.manifest.candidates(format: "coreml").first { $0.variant.name == "half" })
        XCTAssertNoThrow(try bundle.check(half.file))
        try Data().write(to: bundle.url(of: half.file.path).appendingPathComponent("more.bin"))
        XCTAssertTrue(refusal(try bundle.check(half.file)).hasPrefix("\(half.file.path) is not the file of the bundle"))
    }

    func testAPathThatLeadsOutOfTheBundleIsRefused() throws {
        for path in ["../a", "/a", "a/../../b", "a//b", "a/./b", "a\\b", "C:b", "a\tb", ""] {
            let said = refusal(try requireSafePath(path))
            XCTAssertEqual(said, "bundle.json names '\(path)', which is no path inside of the bundle")
        }
        XCTAssertEqual(try requireSafePath("a/model#group_b/c.tflite"), "a/model#group_b/c.tflite")
    }

    func testSignaturesAreAskedForByName() throws {
        let key = String(repeating: "0", count: 64)
        let bundle = try copyOfResources()
        XCTAssertEqual(refusal(try AppBundle(in: bundle, trustedKey: key)), "bundle.json is not signed")
        let url = bundle.appendingPathComponent("bundle.json")
        let signed = try String(contentsOf: url, encoding: .utf8)
            .replacingOccurrences(of: "\"signed_by\": \"\"", with: "\"signed_by\": \"\(key)\"")
        try Data(signed.utf8).write(to: url)
        let missing = "bundle.json is signed, and bundle.json.sig is missing"
        XCTAssertEqual(refusal(try AppBundle(in: bundle, trustedKey: key)), missing)
        XCTAssertEqual(refusal(try AppBundle(in: bundle, trustedKey: "1")), "bundle.json is signed by \(key)")
        try Data(repeating: 0, count: 64).write(to: bundle.appendingPathComponent("bundle.json.sig"))
        #if canImport(CryptoKit)
        let expected = "bundle.json.sig does not fit bundle.json: one of them was changed"
        #else
        let expected = "there is no CryptoKit here to check ed25519 with: nothing checks bundle.json.sig"
        #endif
        XCTAssertEqual(refusal(try AppBundle(in: bundle, trustedKey: key)), expected)
    }

    func testErrorsAndLabelsByHand() throws {
        XCTAssertEqual(try relativeError([1, -4], [1, -5]), 0.2)
        XCTAssertEqual(try relativeError([0], [0]), 0)
        XCTAssertEqual(try relativeError([1], [0]), .infinity)
        XCTAssertEqual(try relativeError([.nan], [1]), .infinity)
        let top = try topLabel([1, 3, 3], labels: ["ant", "bee", "cat"])
        XCTAssertEqual([top.text, "\(top.index)", "\(top.score)"], ["bee", "1", "3.0"])
        XCTAssertEqual(try topLabel([1, 3], labels: []).text, "1")
        XCTAssertEqual(refusal(try topLabel([1, 3], labels: ["ant"])), "2 scores for 1 labels")
    }

    func testAModelIsNotOpenedWhereNothingRunsIt() async throws {
        try XCTSkipIf(!AppBundle.formats.isEmpty, "something runs models here")
        do {
            _ = try await AppBundle.load().openModel(budgetMs: 10)
            XCTFail("a model was opened")
        } catch let error as BundleError {
            XCTAssertEqual(error.description, "no variant of 'tiny' opens here ()")
        }
    }

    private func read(_ name: String) throws -> Data {
        try Data(contentsOf: folder.appendingPathComponent(name))
    }

    private func copyOfResources() throws -> URL {
        let copy = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.copyItem(at: AppBundle.load().folder, to: copy)
        addTeardownBlock { try? FileManager.default.removeItem(at: copy) }
        return copy
    }

    private func refusal<Value>(_ call: @autoclosure () throws -> Value) -> String {
        do {
            return "gives \(try call())"
        } catch {
            return "\(error)"
        }
    }
}
