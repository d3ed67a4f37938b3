/** Stands in for JUnit 4's runners. */
package org.junit.runner

import kotlin.reflect.KClass

abstract class Runner

annotation class RunWith(val value: KClass<out Runner>)
