// aedes as the engine of MQTT, as far as the suite over the front-ends goes without consumer groups
// and without codes that say why.
import { AedesGateway } from '../../../src/gateway/aedes/server.ts'
import { badInputCases } from './bad-input.ts'
import type { Driver } from './driver.ts'
import { mqtt } from './drivers/mqtt.ts'
import { stoppingCases } from './stopping.ts'

const aedes: Driver = {
  ...mqtt(4),
  name: 'MQTT 3.1.1 by aedes',
  gateway: (context) => new AedesGateway(context, { unstoredBytesMax: 200_000 }),
}

stoppingCases(aedes)
badInputCases(aedes)
