// A broker that has no light queues, as one over a cluster: the MQTT front-end follows topics then.
import type { Broker } from '../../../src/port/broker.ts'
import { overridden } from '../overridden.ts'

export const withoutLightQueues = (broker: Broker): Broker =>
  overridden(broker, { lightQueues: undefined })
