import { mqtt } from './drivers/mqtt.ts'
import { gatewaySuite } from './gateway.ts'

gatewaySuite(mqtt(4))
gatewaySuite(mqtt(5))
