// An aedes server as its users write it, on a broker elsewhere: the process that tests kill.
import { createServer } from 'node:net'
import { Aedes } from 'aedes'
import { createEmitter, createPersistence } from '../../src/aedes/index.ts'

const { port, heartbeatMs, ...broker } = JSON.parse(process.argv[2]!) as {
  port: number
  nameServers: string
  heartbeatMs: number
}
const mq = createEmitter(broker)
const aedes = await Aedes.createBroker({
  mq,
  persistence: createPersistence(broker),
  authorizePublish: mq.storeFirst(),
  heartbeatInterval: heartbeatMs,
})
const server = createServer(aedes.handle)
server.listen(port, '127.0.0.1', () =>
  process.stdout.write(`${JSON.stringify(server.address())}\n`),
)
