// swift-tools-version: 5.9
import Foundation
import PackageDescription

// What lies in Resources is copied one by one: a folder that is called Resources inside of the resource bundle cannot be
// signed for iOS. After the bundle was written anew with other variants: File > Packages > Reset Package Caches.
let folder = Context.packageDirectory + "/Sources/DeployPruneBundle/Resources"
let resources = try FileManager.default.contentsOfDirectory(atPath: folder)
    .filter { !$0.hasPrefix(".") }
    .sorted()
    .map { Resource.copy("Resources/\($0)") }

let package = Package(
    name: "DeployPruneBundle",
    platforms: [.iOS(.v16), .macOS(.v13), .tvOS(.v16), .watchOS(.v9)],
    products: [.library(name: "DeployPruneBundle", targets: ["DeployPruneBundle"])],
    targets: [
        .target(name: "DeployPruneBundle", resources: resources),
        .testTarget(name: "DeployPruneBundleTests", dependencies: ["DeployPruneBundle"]),
    ]
)
