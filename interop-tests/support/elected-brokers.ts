// Three copies of one broker whose master etcd elects, each in a process of its own, with a name
// server and three members of etcd.
import type { ExecutionContext } from 'ava'
import type { ConfigInput } from '../../src/config.ts'
import { freePort, type SpawnedServer, spawnServer } from '../../test/support/server.ts'
import { tempDir } from '../../test/support/temp-dir.ts'
import { eventually } from '../../test/support/waiting.ts'
import { EtcdCluster, type EtcdTimes } from './etcd-cluster.ts'

export const COPIES = 3

export interface ElectedBrokers {
  readonly etcd: EtcdCluster
  readonly nameServer: SpawnedServer
  readonly brokers: readonly SpawnedServer[]
  /** The one that takes messages, by what etcd says; waits for it. */
  master(): Promise<SpawnedServer>
  /** Names of the copies that may be elected. */
  inSync(): Promise<readonly string[]>
  /** As many copies are in sync as there are. */
  settled(): Promise<void>
}

interface State {
  readonly election: number
  readonly master: string
  readonly inSync: readonly string[]
}

const GROUP = '/trivet/DefaultCluster/broker-a/'

export async function startElected(
  t: ExecutionContext,
  options: { readonly times?: EtcdTimes; readonly config?: ConfigInput } = {},
): Promise<ElectedBrokers> {
  const etcd = await EtcdCluster.start(await tempDir(t), options.times)
  t.teardown(() => etcd.close())
  const nameServer = await spawnServer(t, { role: 'namesrv' })
  const brokers: SpawnedServer[] = []
  for (let id = 1; id <= COPIES; id++) {
    const { config } = options
    brokers.push(
      await spawnServer(t, {
        role: 'broker',
        config: {
          ...config,
          broker: {
            ...{ name: 'broker-a', id, role: 'SYNC_MASTER' },
            nameServers: [nameServer.address('nameServer')],
            ...config?.broker,
          },
          remoting: { vipChannel: false },
          replication: {
            ...{ enabled: true, port: await freePort() },
            ...config?.replication,
            etcd: {
              ...{ endpoints: [...etcd.endpoints], founds: id === 1 },
              ...config?.replication?.etcd,
            },
          },
        },
      }),
    )
  }
  const state = async (): Promise<State | undefined> => {
    const value = await etcd.get(`${GROUP}state`)
    return value === undefined ? undefined : JSON.parse(value)
  }
  const inSync = async () => (await state())?.inSync ?? []
  return {
    ...{ etcd, nameServer, brokers, inSync },
    master: () =>
      eventually(async () => {
        const holder = await etcd.get(`${GROUP}master`)
        return holder === undefined ? undefined : brokers[Number(holder.split('-')[0]) - 1]
      }),
    settled: async () => {
      await eventually(async () => (await inSync()).length === COPIES)
    },
  }
}
