import { gatewaySuite } from '../gateway.ts'
import { followingMqtt } from './drivers/mqtt.ts'

gatewaySuite(followingMqtt(4))
gatewaySuite(followingMqtt(5))
