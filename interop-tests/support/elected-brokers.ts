// Three copies of one broker whose master etcd elects, each in a process of its own, with a name
// server and three members of etcd: on this machine, or each on a machine with a member of etcd.
import type { ExecutionContext } from 'ava'
import type { ConfigInput } from '../../src/config.ts'
import { freePort, type SpawnedServer, spawnServer } from '../../test/support/server.ts'
import { tempDir } from '../../test/support/temp-dir.ts'
import { eventually } from '../../test/support/waiting.ts'
import { EtcdCluster, type EtcdOptions } from './etcd-cluster.ts'
import type { Network } from './faults/network.ts'

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

export interface ElectedOptions {
  readonly etcd?: EtcdOptions
  readonly config?: ConfigInput
  /** Of each copy, beside the configuration of all. */
  readonly copies?: readonly ConfigInput[]
  /** Further environment of each copy. */
  readonly envs?: readonly Readonly<Record<string, string>>[]
  /** The command that each copy is started with first; default: this checkout's. */
  readonly trivet?: string
  /** With a machine for each copy; clients and the name server are outside. */
  readonly network?: Network
}

const GROUP = '/trivet/DefaultCluster/broker-a/'

export async function startElected(
  t: ExecutionContext,
  options: ElectedOptions = {},
): Promise<ElectedBrokers> {
  const { network, config } = options
  const etcd = await EtcdCluster.start(await tempDir(t), {
    ...(network && { machines: network.machines }),
    ...options.etcd,
  })
  t.teardown(() => etcd.close())
  const nameServer = await spawnServer(t, {
    role: 'namesrv',
    ...(network && { machine: { host: network.host, within: [] } }),
  })
  const brokers: SpawnedServer[] = []
  for (let id = 1; id <= COPIES; id++) {
    const machine = network?.machines[id - 1]
    const replication = { enabled: true, port: await freePort(), host: machine?.host }
    brokers.push(
      await spawnServer(t, {
        role: 'broker',
        ...(machine && { machine }),
        ...(options.trivet !== undefined && { trivet: options.trivet }),
        env: options.envs?.[id - 1] ?? {},
        config: {
          ...config,
          ...options.copies?.[id - 1],
          broker: {
            ...{ name: 'broker-a', id, role: 'SYNC_MASTER' },
            nameServers: [nameServer.address('nameServer')],
            ...config?.broker,
          },
          remoting: { vipChannel: false },
          replication: {
            ...replication,
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
