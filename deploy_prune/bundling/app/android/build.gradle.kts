plugins {
    id("com.android.ai-pack")
}

aiPack {
    packName = "$name"
    dynamicDelivery {
        deliveryType = "install-time"
    }
}
