/*
 * What an app needs to know of a bundle that deploy-prune wrote: reading bundle.json, choosing a variant, checking
 * files, preprocessing, and comparing answers with the golden ones.
 *
 * Nothing here is of Android: it compiles and runs on a bare JVM as well.
 */
package com.deployprune

import java.io.InputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.security.GeneralSecurityException
import java.security.InvalidKeyException
import java.security.KeyFactory
import java.security.MessageDigest
import java.security.NoSuchAlgorithmException
import java.security.PublicKey
import java.security.Signature
import java.security.spec.InvalidKeySpecException
import java.security.spec.X509EncodedKeySpec
import kotlin.math.abs

/** The one schema of bundle.json that this code reads. */
const val SCHEMA = 1

/** Says what is wrong with a bundle, and names the file that is. */
class BundleException(message: String, cause: Throwable? = null) : Exception(message, cause)

/** What bundle.json says. */
data class ModelBundle(
    val name: String,
    /** Names of the classes in the order of the scores; may be empty. */
    val labels: List<String>,
    /** The variant to take where nothing was measured. */
    val fallback: String,
    /** The ed25519 public key that signed bundle.json, in hex; empty: it is not signed. */
    val signedBy: String,
    val input: ImageInput,
    val outputs: List<TensorSpec>,
    val golden: GoldenSpec,
    val groups: List<SocGroup>,
    val variants: List<Variant>,
    /** Every other file of the bundle's folder. */
    val files: List<ListedFile>,
)

/** The image that a network takes, and what turns pixels into it. */
data class ImageInput(
    val name: String,
    val channels: Int,
    val height: Int,
    val width: Int,
    /** A number per channel that pixels are multiplied by. */
    val scale: List<Float>,
    /** A number per channel that is subtracted afterwards. */
    val shift: List<Float>,
) {
    /** How many numbers an image has. */
    val size: Int get() = channels * height * width
}

/** A tensor without its batch axis. */
data class TensorSpec(val name: String, val shape: List<Int>) {
    /** How many numbers it has. */
    val size: Int get() = shape.fold(1, Int::times)
}

/** Images, and what preprocessing must make of them; paths from the bundle's folder. */
data class GoldenSpec(val images: Int, val pixels: String, val input: String)

/** The variant that an AI pack delivers to a group of SoCs. */
data class SocGroup(val name: String, val variant: String)

/** One network of the bundle, in all of its formats. */
data class Variant(
    val name: String,
    val accuracy: Accuracy,
    /** What it answers to the golden images, in any of its formats: a file per output, in their order. */
    val golden: List<String>,
    val files: List<ModelFile>,
)

/** How often a network was right, by some metric. */
data class Accuracy(val metric: String, val value: Double)

/** The order of a tensor's axes. */
enum class Layout { NHWC, NCHW }

/** What a file's input is made of. */
enum class ElementType { FLOAT32, UINT8 }

/** A model file, and how to use it. */
data class ModelFile(
    val path: String,
    val format: String,
    val sha256: String,
    val sizeBytes: Long,
    val layout: Layout,
    val takes: ElementType,
    /** The file takes pixels as they are, and does the preprocessing itself. */
    val baked: Boolean,
    /** What it gives: "scores" or "probabilities". */
    val gives: String,
    /** The relative error that its answers may have. */
    val tolerance: Double,
    val latency: List<Latency>,
)

/** One measurement. */
data class Latency(val device: String, val value: Double, val unit: String)

/** A file of the bundle's folder. */
data class ListedFile(val path: String, val sha256: String, val sizeBytes: Long)

/** A variant, and its file in the format that was asked for. */
data class Candidate(val variant: Variant, val file: ModelFile)

/** The class with the highest score; `text` is its label, or its number where there are no labels. */
data class TopLabel(val index: Int, val text: String, val score: Float)

/**
 * Reads bundle.json.
 *
 * @throws BundleException it is no JSON, of another schema, incomplete, or names a path outside of the bundle.
 */
fun parseBundle(text: String): ModelBundle {
    val root = Node(JsonReader(text).read(), "")
    val schema = root["schema"].int
    if (schema != SCHEMA) {
        val hint = "take the loader that lies in the same bundle"
        throw BundleException("bundle.json is of schema $schema, this code reads schema $SCHEMA: $hint")
    }
    val bundle = ModelBundle(
        name = root["name"].text,
        labels = root["labels"].list.map { it.text },
        fallback = root["fallback"].text,
        signedBy = root["signed_by"].text,
        input = readInput(root["input"]),
        outputs = root["outputs"].list.map { TensorSpec(it["name"].text, it["shape"].list.map(Node::int)) },
        golden = root["golden"].let { GoldenSpec(it["images"].int, it["pixels"].path, it["input"].path) },
        groups = root["groups"].list.map { SocGroup(it["name"].text, it["variant"].text) },
        variants = root["variants"].list.map(::readVariant),
        files = root["files"].list.map { ListedFile(it["path"].path, it["sha256"].text, it["size_bytes"].long) },
    )
    checkNames(bundle)
    return bundle
}

private fun readInput(node: Node): ImageInput {
    val shape = node["shape"].list.map(Node::int)
    val scale = node["scale"].list.map(Node::float)
    val shift = node["shift"].list.map(Node::float)
    if (shape.size != 3 || shape.any { it < 1 } || scale.size != shape[0] || shift.size != shape[0]) {
        throw BundleException("bundle.json: input has shape $shape, ${scale.size} scales and ${shift.size} shifts")
    }
    return ImageInput(node["name"].text, shape[0], shape[1], shape[2], scale, shift)
}

private fun readVariant(node: Node) = Variant(
    name = node["name"].text,
    accuracy = node["accuracy"].let { Accuracy(it["metric"].text, it["value"].double) },
    golden = node["golden"].list.map(Node::path),
    files = node["files"].list.map(::readFile),
)

private fun readFile(node: Node) = ModelFile(
    path = node["path"].path,
    format = node["format"].text,
    sha256 = node["sha256"].text,
    sizeBytes = node["size_bytes"].long,
    layout = node["layout"].oneOf(Layout.entries),
    takes = node["takes"].oneOf(ElementType.entries),
    baked = node["baked"].flag,
    gives = node["gives"].text,
    tolerance = node["tolerance"].double,
    latency = node["latency"].list.map { Latency(it["device"].text, it["value"].double, it["unit"].text) },
)

private fun checkNames(bundle: ModelBundle) {
    val names = bundle.variants.map(Variant::name)
    val unknown = (listOf(bundle.fallback) + bundle.groups.map(SocGroup::variant)) - names.toSet()
    if (unknown.isNotEmpty()) {
        throw BundleException("bundle.json names the variant '${unknown.first()}', and has $names")
    }
    bundle.variants.find { it.golden.size != bundle.outputs.size }?.let {
        throw BundleException("bundle.json: ${it.name} has ${it.golden.size} golden outputs of ${bundle.outputs.size}")
    }
}

/**
 * Gives back a path of a bundle, '/' between its parts.
 *
 * @throws BundleException it leads out of the bundle, or may do so on some system.
 */
fun requireSafePath(path: String): String {
    val isOdd = path.any { it in "\\:" || it.isISOControl() }
    if (isOdd || path.split('/').any { it.isEmpty() || it == "." || it == ".." }) {
        throw BundleException("bundle.json names '$path', which is no path inside of the bundle")
    }
    return path
}

/**
 * Chooses a variant by what one run may take.
 *
 * Of the variants whose file of this format was measured within the budget: the most accurate; of equals the faster
 * one, then the first. Where none is: the fastest that was measured. Where nothing was measured: the fallback.
 *
 * @param budgetMs the milliseconds that one run may take.
 * @param device only measurements of this device count; null: a file's largest of any device does.
 * @throws BundleException no variant has a file of this format.
 */
fun ModelBundle.choose(format: String, budgetMs: Double, device: String? = null): Candidate =
    rank(format, budgetMs, device).first()

/**
 * Lists all variants with a file of this format in the order to try them: every next one is what [choose] would take if
 * those before were not there.
 */
fun ModelBundle.rank(format: String, budgetMs: Double, device: String? = null): List<Candidate> {
    val left = candidates(format).toMutableList()
    val ranked = mutableListOf<Candidate>()
    while (left.isNotEmpty()) {
        val next = pick(left, budgetMs, device)
        left.remove(next)
        ranked += next
    }
    return ranked.ifEmpty { throw BundleException("bundle.json has no file of the format '$format'") }
}

/** The variants with a file of this format, as bundle.json lists them. */
fun ModelBundle.candidates(format: String): List<Candidate> =
    variants.mapNotNull { variant -> variant.files.find { it.format == format }?.let { Candidate(variant, it) } }

private fun ModelBundle.pick(candidates: List<Candidate>, budgetMs: Double, device: String?): Candidate {
    val timed = candidates.mapNotNull { each -> each.file.latencyMs(device)?.let { each to it } }
    val fitting = timed.filter { (_, latencyMs) -> latencyMs <= budgetMs }
    val best = compareByDescending<Pair<Candidate, Double>> { (each, _) -> each.variant.accuracy.value }
    return when {
        fitting.isNotEmpty() -> fitting.minWith(best.thenBy { it.second }).first
        timed.isNotEmpty() -> timed.minBy { it.second }.first
        else -> candidates.find { it.variant.name == fallback } ?: candidates.first()
    }
}

/** The largest milliseconds that were measured for a file, on this device where one is named; null: not measured. */
fun ModelFile.latencyMs(device: String? = null): Double? =
    latency.filter { it.unit == "ms" && (device == null || it.device == device) }.maxOfOrNull(Latency::value)

/** Finds the variant that a model file is, such as the one that an AI pack delivered. */
fun ModelBundle.findBySha256(sha256: String): Candidate =
    variants.firstNotNullOfOrNull { variant ->
        variant.files.find { it.sha256 == sha256 }?.let { Candidate(variant, it) }
    } ?: throw BundleException("bundle.json of '$name' lists no file with the sha256 $sha256")

/** The SHA-256 of all that a stream still has, in hex; the stream is closed. */
fun sha256(stream: InputStream): String {
    val digest = MessageDigest.getInstance("SHA-256")
    val buffer = ByteArray(1 shl 16)
    stream.use {
        while (true) {
            val count = it.read(buffer)
            if (count < 0) break
            digest.update(buffer, 0, count)
        }
    }
    return digest.digest().joinToString("") { "%02x".format(it) }
}

/**
 * Checks a file's content.
 *
 * @throws BundleException it is not what bundle.json lists; the file is named.
 */
fun checkSha256(path: String, expected: String, stream: InputStream) {
    val actual = sha256(stream)
    if (actual != expected) {
        throw BundleException("$path is not the file of the bundle: its sha256 is $actual, bundle.json lists $expected")
    }
}

/**
 * Checks who signed bundle.json.
 *
 * @param json the bytes of bundle.json.
 * @param signature the 64 bytes of bundle.json.sig; null: there is no such file.
 * @param trustedKey the public key that the app trusts, 64 digits in hex. It belongs into the app's code: the one in
 *   bundle.json can be replaced together with the signature.
 * @throws BundleException another one or nobody signed it, or this device cannot check ed25519 signatures.
 */
fun checkSignature(json: ByteArray, signature: ByteArray?, trustedKey: String) {
    val signedBy = parseBundle(json.toString(Charsets.UTF_8)).signedBy
    when {
        signedBy.isEmpty() -> throw BundleException("bundle.json is not signed")
        !signedBy.equals(trustedKey, ignoreCase = true) -> throw BundleException("bundle.json is signed by $signedBy")
        signature == null -> throw BundleException("bundle.json is signed, and bundle.json.sig is missing")
        !verifyEd25519(json, signature, trustedKey) ->
            throw BundleException("bundle.json.sig does not fit bundle.json: one of them was changed")
    }
}

private fun verifyEd25519(message: ByteArray, signature: ByteArray, key: String): Boolean =
    try {
        Signature.getInstance("Ed25519").run {
            initVerify(ed25519Key(key))
            update(message)
            verify(signature)
        }
    } catch (error: NoSuchAlgorithmException) {
        throw BundleException("this device has no Ed25519 in java.security: nothing checks bundle.json.sig", error)
    } catch (error: InvalidKeySpecException) {
        throw BundleException("'$key' is no ed25519 public key", error)
    } catch (error: InvalidKeyException) {
        throw BundleException("'$key' is no ed25519 public key", error)
    } catch (_: GeneralSecurityException) {
        false // not even of a signature's form
    }

/** A raw key, as X.509 writes one: RFC 8410. */
private fun ed25519Key(hex: String): PublicKey {
    val raw = hex.chunked(2).mapNotNull { it.toIntOrNull(16)?.toByte() }.toByteArray()
    if (hex.length != 64 || raw.size != 32) throw BundleException("'$hex' is no ed25519 public key")
    val prefix = byteArrayOf(0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00)
    return KeyFactory.getInstance("Ed25519").generatePublic(X509EncodedKeySpec(prefix + raw))
}

/**
 * Turns an image's pixels into what the network takes: float(pixel) * scale - shift, per channel.
 *
 * Both operations are rounded to float32, as the golden inputs are: a fused multiply-add would round once.
 *
 * @param pixels height x width x channels bytes, RGB.
 * @param layout the order of axes in what is given back.
 */
fun preprocess(pixels: ByteArray, input: ImageInput, layout: Layout): FloatArray {
    val values = FloatArray(input.size)
    forEachPixel(pixels, input, layout) { index, channel, pixel ->
        val scaled = pixel.toFloat() * input.scale[channel]
        values[index] = scaled - input.shift[channel]
    }
    return values
}

/** Puts an image's pixels into another order of axes, and nothing else: for files that do the preprocessing. */
fun arrange(pixels: ByteArray, input: ImageInput, layout: Layout): ByteArray {
    val values = ByteArray(input.size)
    forEachPixel(pixels, input, layout) { index, _, pixel -> values[index] = pixel.toByte() }
    return values
}

/** Calls `action` with the place of a value in this order of axes, its channel, and the pixel, 0 to 255. */
private inline fun forEachPixel(
    pixels: ByteArray,
    input: ImageInput,
    layout: Layout,
    action: (index: Int, channel: Int, pixel: Int) -> Unit,
) {
    if (pixels.size != input.size) {
        throw BundleException("an image of ${pixels.size} bytes, the network takes ${input.size}")
    }
    val area = input.height * input.width
    val (pixelStep, channelStep) = if (layout == Layout.NHWC) input.channels to 1 else 1 to area
    for (place in 0 until area) {
        for (channel in 0 until input.channels) {
            val pixel = pixels[place * input.channels + channel].toInt() and 0xff
            action(place * pixelStep + channel * channelStep, channel, pixel)
        }
    }
}

/**
 * How far an answer is from the golden one: max |actual - expected| / max |expected|;
 * infinite where one is not finite.
 */
fun relativeError(actual: FloatArray, expected: FloatArray): Double {
    if (actual.size != expected.size) {
        throw BundleException("an output of ${actual.size} numbers, the golden one has ${expected.size}")
    }
    if (!(actual + expected).all(Float::isFinite)) return Double.POSITIVE_INFINITY
    val difference = actual.indices.maxOfOrNull { abs(actual[it].toDouble() - expected[it].toDouble()) } ?: 0.0
    val scale = expected.maxOfOrNull { abs(it.toDouble()) } ?: 0.0
    return if (difference == 0.0) 0.0 else difference / scale
}

/** Finds the class with the highest score; of equals the first. */
fun topLabel(scores: FloatArray, labels: List<String>): TopLabel {
    if (scores.isEmpty() || (labels.isNotEmpty() && labels.size != scores.size)) {
        throw BundleException("${scores.size} scores for ${labels.size} labels")
    }
    val index = scores.indices.maxBy { scores[it] }
    return TopLabel(index, labels.getOrElse(index) { index.toString() }, scores[index])
}

/** The rows of a file of little-endian float32 numbers. */
fun readFloats(bytes: ByteArray, rows: Int): List<FloatArray> {
    if (rows <= 0 || bytes.size % (Float.SIZE_BYTES * rows) != 0) {
        throw BundleException("${bytes.size} bytes are no $rows rows of float32")
    }
    val numbers = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
    return List(rows) { FloatArray(numbers.capacity() / rows).also(numbers::get) }
}

/** The images of a file of pixels. */
fun readImages(bytes: ByteArray, images: Int): List<ByteArray> {
    if (images <= 0 || bytes.size % images != 0) throw BundleException("${bytes.size} bytes are no $images images")
    val size = bytes.size / images
    return List(images) { bytes.copyOfRange(it * size, (it + 1) * size) }
}

/** A value of bundle.json that knows where it stands, so that errors can say so. */
internal class Node(private val value: Any?, private val where: String) {
    operator fun get(key: String): Node {
        val fields = value as? Map<*, *> ?: fail("an object")
        if (key !in fields) throw BundleException("bundle.json: ${"$where.$key".trimStart('.')} is missing")
        return Node(fields[key], "$where.$key".trimStart('.'))
    }

    val text: String get() = value as? String ?: fail("a text")
    val path: String get() = requireSafePath(text)
    val flag: Boolean get() = value as? Boolean ?: fail("true or false")
    val double: Double get() = number.toDouble()
    val float: Float get() = number.toFloat()
    val long: Long get() = number.toLongOrNull() ?: fail("a whole number")
    val int: Int get() = number.toIntOrNull() ?: fail("a whole number")
    val list: List<Node>
        get() = (value as? List<*> ?: fail("a list")).mapIndexed { index, each -> Node(each, "$where[$index]") }

    fun <E : Enum<E>> oneOf(entries: List<E>): E =
        entries.find { it.name.lowercase() == text } ?: fail("one of ${entries.map { it.name.lowercase() }}")

    private val number: String get() = (value as? JsonNumber ?: fail("a number")).text

    private fun fail(expected: String): Nothing =
        throw BundleException("bundle.json: ${where.ifEmpty { "the whole" }} is not $expected")
}

/** A number as it is written: it is rounded once, to the type that is asked for. */
internal class JsonNumber(val text: String)

/** Reads JSON (RFC 8259): objects as maps, arrays as lists, numbers as [JsonNumber]. Strict: also with names twice. */
internal class JsonReader(private val text: String) {
    private var at = 0

    fun read(): Any? {
        val value = readValue(0)
        if (peek() != null) fail("more than one value")
        return value
    }

    private fun readValue(depth: Int): Any? {
        if (depth > MAX_DEPTH) fail("more than $MAX_DEPTH levels")
        return when (peek()) {
            '{' -> readObject(depth)
            '[' -> readArray(depth)
            '"' -> readString()
            else -> readWord()
        }
    }

    private fun readObject(depth: Int): Map<String, Any?> {
        val fields = LinkedHashMap<String, Any?>()
        readItems('}') {
            if (peek() != '"') fail("no name")
            val name = readString()
            take(':')
            if (name in fields) fail("'$name' twice")
            fields[name] = readValue(depth + 1)
        }
        return fields
    }

    private fun readArray(depth: Int): List<Any?> {
        val values = ArrayList<Any?>()
        readItems(']') { values += readValue(depth + 1) }
        return values
    }

    private inline fun readItems(end: Char, readItem: () -> Unit) {
        at++
        if (peek() == end) {
            at++
            return
        }
        while (true) {
            readItem()
            if (peek() != ',') break
            at++
        }
        take(end)
    }

    private fun readString(): String {
        val content = StringBuilder()
        at++
        while (true) {
            val char = text.getOrNull(at++) ?: fail("a text without an end")
            when {
                char == '"' -> return content.toString()
                char == '\\' -> content.append(readEscape())
                char < ' ' -> fail("a control character")
                else -> content.append(char)
            }
        }
    }

    private fun readEscape(): Char {
        val char = text.getOrNull(at++) ?: fail("a text without an end")
        if (char != 'u') return ESCAPES[char] ?: fail("an unknown escape")
        val digits = text.substring(at, minOf(at + 4, text.length))
        if (!Regex("[0-9A-Fa-f]{4}").matches(digits)) fail("an unknown escape")
        at += 4
        return digits.toInt(16).toChar()
    }

    private fun readWord(): Any? {
        val start = at
        while (at < text.length && (text[at].isLetterOrDigit() || text[at] in "+-.")) at++
        val word = text.substring(start, at)
        return when {
            word == "true" -> true
            word == "false" -> false
            word == "null" -> null
            NUMBER.matches(word) -> JsonNumber(word)
            else -> fail("no value")
        }
    }

    private fun peek(): Char? {
        while (at < text.length && text[at] in " \t\r\n") at++
        return text.getOrNull(at)
    }

    private fun take(char: Char) {
        if (peek() != char) fail("no '$char'")
        at++
    }

    private fun fail(what: String): Nothing = throw BundleException("bundle.json is no JSON: $what at character $at")

    private companion object {
        const val MAX_DEPTH = 64
        val NUMBER = Regex("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?")
        val ESCAPES = mapOf(
            '"' to '"', '\\' to '\\', '/' to '/', 'b' to '\b', 'f' to '\u000c', 'n' to '\n', 'r' to '\r', 't' to '\t',
        )
    }
}
