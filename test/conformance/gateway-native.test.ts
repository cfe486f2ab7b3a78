import { native } from './drivers/native.ts'
import { gatewaySuite } from './gateway.ts'

gatewaySuite(native)
