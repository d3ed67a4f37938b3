/*
 * Opens a bundle's model on Android and runs it with LiteRT's CompiledModel.
 *
 * Compiled, and run against stand-ins of Android's and LiteRT's classes; not tried on a device: GoldenPairTest is what
 * tells there. LiteRT of 2.1 and newer: com.google.ai.edge.litert:litert.
 */
package com.deployprune

import android.content.Context
import android.content.res.AssetManager
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import com.google.ai.edge.litert.LiteRtException
import com.google.ai.edge.litert.TensorBuffer
import java.io.File
import java.io.FileNotFoundException
import java.io.IOException

/** The format that LiteRT runs. */
const val TFLITE = "tflite"

private const val MANIFEST = "bundle.json"

/** Where an AI pack's model lies, among the app's assets or in the pack's own folder: one variant, the device's. */
fun packedPath(pack: String): String = "model/$pack.tflite"

/**
 * A model that runs. It belongs to one thread at a time, and is closed after use.
 *
 * @property candidate which of the bundle's variants it is.
 */
class AndroidModel private constructor(
    val bundle: ModelBundle,
    val candidate: Candidate,
    private val model: CompiledModel,
) : AutoCloseable {
    private val inputs: List<TensorBuffer> = model.createInputBuffers()
    private val outputs: List<TensorBuffer> = model.createOutputBuffers()

    /**
     * Runs the network on one image.
     *
     * @param pixels height x width x channels bytes, RGB, in the size of `bundle.input`.
     * @return the outputs in the order of `bundle.outputs`.
     */
    fun run(pixels: ByteArray): List<FloatArray> {
        write(pixels, inputs.single())
        model.run(inputs, outputs)
        return outputs.map { it.readFloat() }
    }

    /** Runs the network on one image, and finds the class with the highest score. */
    fun classify(pixels: ByteArray): TopLabel = topLabel(run(pixels).first(), bundle.labels)

    override fun close() {
        (inputs + outputs).forEach { it.close() }
        model.close()
    }

    private fun write(pixels: ByteArray, buffer: TensorBuffer) {
        val (input, file) = bundle.input to candidate.file
        when {
            !file.baked -> buffer.writeFloat(preprocess(pixels, input, file.layout))
            // LiteRT writes bytes, signed or not, by this name.
            file.takes == ElementType.UINT8 -> buffer.writeInt8(arrange(pixels, input, file.layout))
            else -> buffer.writeFloat(floats(arrange(pixels, input, file.layout)))
        }
    }

    private fun floats(pixels: ByteArray) = FloatArray(pixels.size) { (pixels[it].toInt() and 0xff).toFloat() }

    companion object {
        /**
         * Opens the most accurate variant within a budget from the app's assets, or the next one that opens.
         *
         * @param pack the bundle's name, which the folder below assets is called after.
         * @param budgetMs the milliseconds that one run may take, see [choose].
         * @throws BundleException none opens, or a file is not what bundle.json lists.
         */
        fun open(context: Context, pack: String, budgetMs: Double): AndroidModel =
            open(context.assets, readBundle(context.assets, "$pack/$MANIFEST"), budgetMs)

        /**
         * Opens the most accurate variant within a budget, by one device's measurements or with other options.
         *
         * @param assets `context.assets`, with the bundle's `plain/src/main/assets` in them.
         * @param budgetMs the milliseconds that one run may take, see [choose].
         * @param device the device whose measurements count, as bundle.json names it; null: the slowest one's.
         * @throws BundleException none opens, or a file is not what bundle.json lists.
         */
        fun open(
            assets: AssetManager,
            bundle: ModelBundle,
            budgetMs: Double,
            device: String? = null,
            options: CompiledModel.Options = CompiledModel.Options(Accelerator.CPU),
        ): AndroidModel {
            val reasons = mutableListOf<String>()
            for (candidate in bundle.rank(TFLITE, budgetMs, device)) {
                try {
                    return openVariant(assets, bundle, candidate, options)
                } catch (error: LiteRtException) {
                    reasons += "${candidate.variant.name}: ${error.message}"
                } catch (_: FileNotFoundException) {
                    reasons += "${candidate.variant.name}: not among the app's assets"
                }
            }
            throw BundleException("no variant of '${bundle.name}' opens (${reasons.joinToString("; ")})")
        }

        /**
         * Opens one variant from the app's assets.
         *
         * @throws BundleException the file is not what bundle.json lists.
         * @throws FileNotFoundException the app was built without it.
         * @throws LiteRtException LiteRT does not open it here.
         */
        fun openVariant(
            assets: AssetManager,
            bundle: ModelBundle,
            candidate: Candidate,
            options: CompiledModel.Options = CompiledModel.Options(Accelerator.CPU),
        ): AndroidModel {
            val path = assetPath(candidate.file.path)
            checkSha256(path, candidate.file.sha256, assets.open(path))
            return start(bundle, candidate, CompiledModel.create(assets, path, options))
        }

        /** Opens the variant that an install-time AI pack put among the app's assets. */
        fun openPack(
            assets: AssetManager,
            bundle: ModelBundle,
            options: CompiledModel.Options = CompiledModel.Options(Accelerator.CPU),
        ): AndroidModel {
            val path = packedPath(bundle.name)
            val candidate = bundle.findBySha256(sha256(assets.open(path)))
            return start(bundle, candidate, CompiledModel.create(assets, path, options))
        }

        /**
         * Opens the variant that a fast-follow or on-demand AI pack downloaded.
         *
         * @param file [packedPath] in the folder that `AiPackManager.getPackLocation` tells; it is mapped into memory.
         */
        fun openFile(
            file: File,
            bundle: ModelBundle,
            options: CompiledModel.Options = CompiledModel.Options(Accelerator.CPU),
        ): AndroidModel {
            val candidate = bundle.findBySha256(sha256(file.inputStream()))
            return start(bundle, candidate, CompiledModel.create(file.path, options))
        }

        private fun start(bundle: ModelBundle, candidate: Candidate, model: CompiledModel): AndroidModel =
            try {
                AndroidModel(bundle, candidate, model)
            } catch (error: LiteRtException) {
                model.close()
                throw error
            }
    }
}

/**
 * Reads a bundle.json among the app's assets.
 *
 * @param path where it lies: `<pack>/bundle.json`, or `bundle.json` where an AI pack brings it.
 * @param trustedKey the ed25519 public key that must have signed it, see [checkSignature]; null: signatures are not
 *   looked at.
 */
fun readBundle(assets: AssetManager, path: String, trustedKey: String? = null): ModelBundle {
    val json = assets.open(path).use { it.readBytes() }
    if (trustedKey != null) {
        checkSignature(json, readOrNull(assets, "$path.sig"), trustedKey)
    }
    return parseBundle(json.toString(Charsets.UTF_8))
}

/** Every bundle.json among the app's assets. */
fun listManifests(assets: AssetManager): List<String> {
    val top = assets.list("").orEmpty()
    val below = top.filter { MANIFEST in assets.list(it).orEmpty() }.map { "$it/$MANIFEST" }
    return if (MANIFEST in top) below + MANIFEST else below
}

/** What Android calls a file that lies below `src/main/assets` of a bundle. */
fun assetPath(path: String): String = path.substringAfter("/src/main/assets/")

private fun readOrNull(assets: AssetManager, path: String): ByteArray? =
    try {
        assets.open(path).use { it.readBytes() }
    } catch (_: IOException) {
        null
    }
