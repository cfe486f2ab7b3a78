import { gatewaySuite } from '../gateway.ts'
import { mqtt } from './drivers/mqtt.ts'

gatewaySuite(mqtt(4))
gatewaySuite(mqtt(5))
