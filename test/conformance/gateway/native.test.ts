import { gatewaySuite } from '../gateway.ts'
import { native } from './drivers/native.ts'

gatewaySuite(native)
