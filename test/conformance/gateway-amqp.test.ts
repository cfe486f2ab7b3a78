import { amqp } from './drivers/amqp.ts'
import { gatewaySuite } from './gateway.ts'

gatewaySuite(amqp)
