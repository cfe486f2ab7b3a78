import { followingMqtt } from './drivers/mqtt.ts'
import { gatewaySuite } from './gateway.ts'

gatewaySuite(followingMqtt(4))
gatewaySuite(followingMqtt(5))
