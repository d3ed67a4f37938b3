/** What the tests ask of the Android part, run against the stand-ins in `stubs`. */
package com.deployprune

import android.content.Context
import android.content.res.AssetManager
import androidx.test.platform.app.InstrumentationRegistry
import java.io.File

fun main(arguments: Array<String>) {
    val assets = AssetManager(File(arguments[1]))
    when (arguments[0]) {
        "golden" -> runGoldenPairs(assets, AssetManager(File(arguments[2])))
        "open" -> open(assets, arguments[2].toDouble())
        else -> error(arguments[0])
    }
}

/** Runs the instrumented test as its runner does, and prints what came of each of its methods. */
private fun runGoldenPairs(app: AssetManager, test: AssetManager) {
    InstrumentationRegistry.use(app = Context(app), test = Context(test))
    val methods = GoldenPairTest::class.java.declaredMethods
        .filter { it.isAnnotationPresent(org.junit.Test::class.java) }
        .sortedBy { it.name }
    for (method in methods) {
        val failure = runCatching { method.invoke(GoldenPairTest()) }.exceptionOrNull()?.cause
        println(if (failure == null) "passed ${method.name}" else "failed ${method.name}: ${failure.message}")
    }
}

private fun open(assets: AssetManager, budgetMs: Double) {
    try {
        AndroidModel.open(Context(assets), "tiny", budgetMs).use { model ->
            val pixels = ByteArray(model.bundle.input.size) { (it * 7).toByte() }
            println("${model.candidate.variant.name} ${model.classify(pixels).text}")
        }
    } catch (error: BundleException) {
        println("refused: ${error.message}")
    }
}
