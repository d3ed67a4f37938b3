/** Stands in for Android's. */
package android.content

import android.content.res.AssetManager

class Context(val assets: AssetManager)
