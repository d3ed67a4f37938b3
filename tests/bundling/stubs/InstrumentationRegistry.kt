/** Stands in for androidx.test's: the contexts of an app and of its test. */
package androidx.test.platform.app

import android.content.Context

class Instrumentation(val context: Context, val targetContext: Context)

object InstrumentationRegistry {
    private lateinit var instrumentation: Instrumentation

    @JvmStatic
    fun getInstrumentation(): Instrumentation = instrumentation

    /** Of the stand-in alone. */
    fun use(app: Context, test: Context) {
        instrumentation = Instrumentation(context = test, targetContext = app)
    }
}
