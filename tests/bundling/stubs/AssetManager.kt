/** Stands in for Android's: assets are the files of a folder. */
package android.content.res

import java.io.File
import java.io.InputStream

class AssetManager(private val folder: File) {
    /** As Android's, throws FileNotFoundException. */
    fun open(fileName: String): InputStream = File(folder, fileName).inputStream()

    fun list(path: String): Array<String>? = File(folder, path).list() ?: emptyArray()
}
