// A broker and its slave in processes of their own, behind a name server: what is acknowledged is
// with both.
import type { ExecutionContext } from 'ava'
import { connect } from '../../src/client/index.ts'
import { freePort, type SpawnedServer, spawnServer } from '../../test/support/server.ts'
import { eventually } from '../../test/support/waiting.ts'

export async function startMasterWithSlave(t: ExecutionContext) {
  const names = await spawnServer(t, { role: 'namesrv' })
  const nameServer = names.address('nameServer')
  const port = await freePort()
  const broker = { nameServers: [nameServer] }
  const master = await spawnServer(t, {
    role: 'broker',
    config: {
      broker: { ...broker, role: 'SYNC_MASTER' },
      replication: { enabled: true, port, slaveTimeoutMs: 60_000 },
    },
  })
  const slave = await spawnServer(t, {
    role: 'broker',
    config: {
      broker: { ...broker, role: 'SLAVE' },
      replication: { master: `127.0.0.1:${port}` },
    },
  })
  return { nameServer, master, slave }
}

/** Again until it takes it: while it still looks for its master it refuses. */
export async function promote(slave: SpawnedServer): Promise<void> {
  const address = slave.address('remoting')
  await using client = await connect({ broker: address })
  await eventually(async () => {
    try {
      return await client.admin.promote(address)
    } catch {
      return undefined
    }
  })
}
