/*
 * Runs every golden image on the device, and compares with what preprocessing and network gave when the bundle was
 * written.
 *
 * The test needs `androidTest/assets` of the bundle's loader among its own assets. Compiled, and run against stand-ins
 * of Android's and LiteRT's classes; not tried on a device.
 */
package com.deployprune

import android.content.res.AssetManager
import androidx.test.ext.junit.runners.AndroidJUnit4
import androidx.test.platform.app.InstrumentationRegistry
import java.io.FileNotFoundException
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith

@RunWith(AndroidJUnit4::class)
class GoldenPairTest {
    private val app: AssetManager = InstrumentationRegistry.getInstrumentation().targetContext.assets
    private val golden: AssetManager = InstrumentationRegistry.getInstrumentation().context.assets
    private val bundles: List<ModelBundle> = listManifests(app).map { readBundle(app, it) }

    @Test
    fun theAppHasABundle() = assertTrue("no bundle.json among the assets", bundles.isNotEmpty())

    @Test
    fun preprocessingGivesTheGoldenInputsBitForBit() {
        for (bundle in bundles) {
            val inputs = readFloats(read(bundle.golden.input), bundle.golden.images)
            for ((pixels, input) in images(bundle).zip(inputs)) {
                val actual = preprocess(pixels, bundle.input, Layout.NCHW)
                assertTrue("preprocessing of '${bundle.name}' gives other numbers", input contentEquals actual)
            }
        }
    }

    @Test
    fun everyVariantGivesTheGoldenAnswers() {
        for (bundle in bundles) {
            val compared = bundle.candidates(TFLITE).count { compareVariant(bundle, it) }
            val packed = comparePacked(bundle)
            assertTrue("no model of '${bundle.name}' among the assets", compared > 0 || packed)
        }
    }

    private fun compareVariant(bundle: ModelBundle, candidate: Candidate): Boolean =
        try {
            AndroidModel.openVariant(app, bundle, candidate).use(::compareWithGolden)
            true
        } catch (_: FileNotFoundException) {
            false // an app may take some of the variants
        }

    private fun comparePacked(bundle: ModelBundle): Boolean =
        try {
            AndroidModel.openPack(app, bundle).use(::compareWithGolden)
            true
        } catch (_: FileNotFoundException) {
            false // an app may go without an AI pack
        }

    private fun compareWithGolden(model: AndroidModel) {
        val (variant, file) = model.candidate
        val answers = images(model.bundle).map(model::run)
        for ((output, path) in variant.golden.withIndex()) {
            val expected = readFloats(read(path), model.bundle.golden.images)
            for (image in expected.indices) {
                val error = relativeError(answers[image][output], expected[image])
                val what = "${file.path}, image $image, ${model.bundle.outputs[output].name}"
                assertTrue("$what: relative error $error, at most ${file.tolerance}", error <= file.tolerance)
            }
        }
    }

    private fun images(bundle: ModelBundle): List<ByteArray> =
        readImages(read(bundle.golden.pixels), bundle.golden.images)

    private fun read(path: String): ByteArray = golden.open(path).use { it.readBytes() }
}
