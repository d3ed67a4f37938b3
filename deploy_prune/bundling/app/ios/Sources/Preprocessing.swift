/// Turns an image's pixels into what the network takes: float(pixel) * scale - shift, per channel.
///
/// Both operations are rounded to float32, as the golden inputs are: Swift never makes a fused multiply-add of them,
/// which would round once (that is `addingProduct`).
///
/// - Parameters:
///   - pixels: height x width x channels bytes, RGB.
///   - layout: the order of axes in what is given back.
/// - Throws: `BundleError` where the image is of another size.
public func preprocess(_ pixels: [UInt8], for input: ImageInput, layout: Layout) throws -> [Float] {
    let (scale, shift) = (input.scale, input.shift)
    return try mapPixels(pixels, of: input, layout: layout) { pixel, channel in
        let scaled = Float(pixel) * scale[channel]
        return scaled - shift[channel]
    }
}

/// Puts an image's pixels into another order of axes, and nothing else: for files that do the preprocessing.
public func arrange(_ pixels: [UInt8], for input: ImageInput, layout: Layout) throws -> [UInt8] {
    try mapPixels(pixels, of: input, layout: layout) { pixel, _ in pixel }
}

private func mapPixels<Value>(
    _ pixels: [UInt8], of input: ImageInput, layout: Layout, _ value: (UInt8, Int) -> Value
) throws -> [Value] {
    guard pixels.count == input.size else {
        throw BundleError("an image of \(pixels.count) bytes, the network takes \(input.size)")
    }
    let (channels, area) = (input.channels, input.height * input.width)
    switch layout {
    case .nhwc:
        return pixels.indices.map { value(pixels[$0], $0 % channels) }
    case .nchw:
        return (0..<channels).flatMap { channel in
            (0..<area).map { value(pixels[$0 * channels + channel], channel) }
        }
    }
}
