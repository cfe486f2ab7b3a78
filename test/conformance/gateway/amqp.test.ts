import { gatewaySuite } from '../gateway.ts'
import { amqp } from './drivers/amqp.ts'

gatewaySuite(amqp)
