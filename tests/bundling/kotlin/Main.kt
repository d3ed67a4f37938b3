/** What the tests ask of the loader on a bare JVM: a command and its files; a refusal is printed. */
package com.deployprune

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.security.KeyPairGenerator
import java.security.Signature

fun main(arguments: Array<String>) {
    val (command, files) = arguments.first() to arguments.drop(1).map(::File)
    try {
        when (command) {
            "preprocess" -> preprocessAll(files[0])
            "choose" -> chooseAll(files[0])
            "check" -> checkAll(files[0])
            "golden" -> compareInputs(files[0])
            "parse" -> files[0].readLines().forEach(::parseLine)
            "sign" -> sign(files[0])
            "signature" -> checkSignature(
                File(files[0], "bundle.json").readBytes(),
                File(files[0], "bundle.json.sig").takeIf(File::exists)?.readBytes(),
                arguments[2],
            ).also { println("signed") }
            "answers" -> answers()
            else -> error(command)
        }
    } catch (error: BundleException) {
        println("refused: ${error.message}")
    }
}

/** Writes every case's image in both layouts. */
private fun preprocessAll(folder: File) {
    val pixels = ByteBuffer.wrap(File(folder, "pixels.bin").readBytes())
    File(folder, "actual.bin").outputStream().buffered().use { out ->
        for (case in Node(JsonReader(File(folder, "cases.json").readText()).read(), "").list) {
            val (channels, height, width) = case["shape"].list.map(Node::int)
            val (scale, shift) = listOf("scale", "shift").map { name -> case[name].list.map(Node::float) }
            val input = ImageInput("input", channels, height, width, scale, shift)
            val image = ByteArray(input.size).also(pixels::get)
            for (layout in listOf(Layout.NCHW, Layout.NHWC)) out.write(littleEndian(preprocess(image, input, layout)))
        }
    }
}

private fun littleEndian(values: FloatArray): ByteArray {
    val bytes = ByteBuffer.allocate(values.size * Float.SIZE_BYTES).order(ByteOrder.LITTLE_ENDIAN)
    bytes.asFloatBuffer().put(values)
    return bytes.array()
}

/** Prints every case's order. */
private fun chooseAll(file: File) {
    for (case in Node(JsonReader(file.readText()).read(), "").list) {
        val bundle = parseBundle(case["bundle"].text)
        val (budgetMs, device) = case["budget_ms"].double to case["device"].textOrNull()
        try {
            val order = bundle.rank("tflite", budgetMs, device)
            check(order.first() == bundle.choose("tflite", budgetMs, device))
            println(order.joinToString(" ") { it.variant.name })
        } catch (error: BundleException) {
            println("refused: ${error.message}")
        }
    }
}

private fun Node.textOrNull(): String? = runCatching { text }.getOrNull()

private fun checkAll(folder: File) {
    val bundle = parseBundle(File(folder, "bundle.json").readText())
    for (file in bundle.files) checkSha256(file.path, file.sha256, File(folder, file.path).inputStream())
    for (each in bundle.candidates("tflite")) check(bundle.findBySha256(each.file.sha256) == each)
    println("${bundle.files.size} files")
}

private fun compareInputs(folder: File) {
    val bundle = parseBundle(File(folder, "bundle.json").readText())
    val inputs = readFloats(File(folder, bundle.golden.input).readBytes(), bundle.golden.images)
    val images = readImages(File(folder, bundle.golden.pixels).readBytes(), bundle.golden.images)
    val same = images.zip(inputs).count { (image, input) ->
        preprocess(image, bundle.input, Layout.NCHW) contentEquals input
    }
    println(same)
}

private fun parseLine(line: String) {
    try {
        println("read ${parseBundle(line).name}")
    } catch (error: BundleException) {
        println("refused: ${error.message}")
    }
}

/** Signs bundle.json with a new key, and prints its public half. */
private fun sign(folder: File) {
    val pair = KeyPairGenerator.getInstance("Ed25519").generateKeyPair()
    val key = pair.public.encoded.takeLast(32).joinToString("") { "%02x".format(it) }
    val file = File(folder, "bundle.json")
    file.writeText(file.readText().replace("\"signed_by\": \"\"", "\"signed_by\": \"$key\""))
    val signature = Signature.getInstance("Ed25519").apply {
        initSign(pair.private)
        update(file.readBytes())
    }
    File(folder, "bundle.json.sig").writeBytes(signature.sign())
    println(key)
}

private fun answers() {
    println(relativeError(floatArrayOf(1f, -4f), floatArrayOf(1f, -5f)))
    println(relativeError(floatArrayOf(0f), floatArrayOf(0f)))
    println(relativeError(floatArrayOf(1f), floatArrayOf(0f)))
    println(relativeError(floatArrayOf(Float.NaN), floatArrayOf(1f)))
    println(topLabel(floatArrayOf(1f, 3f, 3f), listOf("ant", "bee", "cat")))
    println(topLabel(floatArrayOf(1f, 3f), emptyList()))
    println(topLabel(floatArrayOf(1f, 3f), listOf("ant")))
}
