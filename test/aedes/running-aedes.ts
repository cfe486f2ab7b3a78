// A real aedes server in the test's process.
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { Aedes, type AedesOptions } from 'aedes'
import type { ExecutionContext } from 'ava'
import { type AedesBroker, createEmitter, createPersistence } from '../../src/aedes/index.ts'
import { type ClientShape, mqttClient, type TestClient } from '../support/mqtt/mqtt.ts'

export interface RunningAedes {
  readonly aedes: Aedes
  readonly port: number
  /** Connected, at QoS 1 and 3.1.1. */
  client(shape?: ClientShape): Promise<TestClient>
}

export async function startAedes(
  t: ExecutionContext,
  broker: AedesBroker,
  options: AedesOptions = {},
): Promise<RunningAedes> {
  const mq = createEmitter(broker)
  const persistence = createPersistence(broker)
  const authorizePublish = mq.storeFirst()
  const aedes = await Aedes.createBroker({ mq, persistence, authorizePublish, ...options })
  const server = createServer(aedes.handle).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(async () => {
    server.close()
    await new Promise<void>((resolve) => aedes.close(() => resolve()))
  })
  const { port } = server.address() as AddressInfo
  return { aedes, port, client: (shape) => mqttClient(t, port, 4, shape) }
}
