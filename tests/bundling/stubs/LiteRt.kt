/**
 * Stands in for LiteRT's CompiledModel (signatures as of 2.1); it runs the text files that `support/tiny_bundle.py`
 * calls models: "tiny", factor, height, width, channels, what it takes, then scale and shift per channel.
 */
package com.google.ai.edge.litert

import android.content.res.AssetManager
import java.io.File
import java.io.InputStream

enum class Accelerator { NONE, CPU, GPU, NPU }

class LiteRtException(val code: Int, message: String) : Exception(message)

class TensorBuffer internal constructor() : AutoCloseable {
    internal var floats: FloatArray? = null
    internal var bytes: ByteArray? = null

    fun writeFloat(data: FloatArray) {
        floats = data
        bytes = null
    }

    fun writeInt8(data: ByteArray) {
        bytes = data
        floats = null
    }

    fun readFloat(): FloatArray = floats ?: throw LiteRtException(3, "nothing was written")

    override fun close() = Unit
}

class CompiledModel private constructor(private val words: List<String>) : AutoCloseable {
    class Options(vararg val accelerators: Accelerator)

    fun createInputBuffers(): List<TensorBuffer> = listOf(TensorBuffer())

    fun createOutputBuffers(): List<TensorBuffer> = listOf(TensorBuffer())

    fun run(inputs: List<TensorBuffer>, outputs: List<TensorBuffer>) {
        val factor = words[1].toFloat()
        val (width, channels) = words.slice(3..4).map(String::toInt)
        val taken = take(inputs.single())
        val labels = FloatArray(4) { label ->
            val (place, channel) = label * width + label + 1 to label % channels
            normalise(taken(place * channels + channel), channel, channels) * factor
        }
        outputs.single().writeFloat(labels)
    }

    override fun close() = Unit

    private fun take(buffer: TensorBuffer): (Int) -> Float = when (words[5]) {
        "uint8" -> buffer.bytes?.let { bytes -> { (bytes[it].toInt() and 0xff).toFloat() } }
        else -> buffer.floats?.let { floats -> { floats[it] } }
    } ?: throw LiteRtException(4, "the input is of another type")

    private fun normalise(value: Float, channel: Int, channels: Int): Float {
        if (words[5] == "ready") return value
        val scaled = value * words[6 + channel].toFloat()
        return scaled - words[6 + channels + channel].toFloat()
    }

    companion object {
        fun create(assetManager: AssetManager, assetName: String, options: Options): CompiledModel =
            read(assetManager.open(assetName), options)

        fun create(filePath: String, options: Options): CompiledModel = read(File(filePath).inputStream(), options)

        private fun read(stream: InputStream, options: Options): CompiledModel {
            val words = stream.use { it.readBytes().decodeToString().split(" ") }
            if (words.first() != "tiny" || Accelerator.CPU !in options.accelerators) {
                throw LiteRtException(501, "no model")
            }
            return CompiledModel(words)
        }
    }
}
