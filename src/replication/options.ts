// The settings of replication, beside those of its listener.
import { z } from 'zod'
import { isAddress } from '../model/host.ts'

/** RocketMQ's words for what a broker is to its copies. */
export const BROKER_ROLES = ['ASYNC_MASTER', 'SYNC_MASTER', 'SLAVE'] as const
export type BrokerRole = (typeof BROKER_ROLES)[number]

/** As many as a log has holds. */
const REPLICAS_MAX = 16

export const replicationSettings = () => ({
  master: z
    .string()
    .refine(isAddress, { error: 'not host:port' })
    .optional()
    .describe("Of a SLAVE: host:port of its master's replication listener."),
  masterTls: z
    .boolean()
    .default(false)
    .describe('Of a SLAVE: reach the master over TLS; `tls.ca` names its CA.'),
  accessKey: z
    .string()
    .min(1)
    .optional()
    .describe('Of a SLAVE: an admin user at the master; with `replication.secretKey`.'),
  secretKey: z
    .string()
    .min(6)
    .optional()
    .meta({ secret: true, description: "That user's secret key." }),
  promotedTo: z
    .enum(['ASYNC_MASTER', 'SYNC_MASTER'])
    .default('ASYNC_MASTER')
    .describe('Of a SLAVE: its role from a promotion to its next start.'),
  inSyncReplicas: z
    .int()
    .min(1)
    .max(REPLICAS_MAX)
    .default(2)
    .describe(
      'Copies, that of the master among them, that a message is synced in before a SYNC_MASTER acknowledges it.',
    ),
  inSyncReplicasMin: z
    .int()
    .min(1)
    .max(REPLICAS_MAX)
    .default(1)
    .describe(
      'With fewer copies in sync, that of the master among them, a SYNC_MASTER takes no messages.',
    ),
  slaveTimeoutMs: z
    .int()
    .min(1)
    .default(3_000)
    .describe('A message that too few slaves have by then is answered with FLUSH_SLAVE_TIMEOUT.'),
  slaveBehindMsMax: z
    .int()
    .min(100)
    .default(15_000)
    .describe('A slave that had not all of the log for so long is not in sync.'),
})

/** An endpoint of etcd; what comes behind the port would not be used. */
const ENDPOINT = /^https?:\/\/[^/?#@\s]+$/

export const etcdSettings = () => ({
  endpoints: z
    .array(z.string().regex(ENDPOINT, { error: 'not http://host:port or https://host:port' }))
    .max(16)
    .default([])
    .describe('Members of etcd (http://host:port); with them the copies elect their master.'),
  prefix: z
    .string()
    .regex(/^[^\s]{1,200}$/, { error: 'not 1 to 200 characters without spaces' })
    .default('/trivet')
    .describe('Of all keys; no other program writes below it.'),
  user: z.string().min(1).optional().describe('With `replication.etcd.password`.'),
  password: z.string().min(1).optional().meta({
    secret: true,
    description: "That user's password.",
  }),
  leaseMs: z
    .int()
    .min(1_000)
    .max(60_000)
    .default(2_000)
    .describe('A master that etcd has not heard of for so long is replaced; in whole seconds.'),
  founds: z
    .boolean()
    .default(false)
    .describe('Of one copy: it is the first master where etcd knows of none yet.'),
})

export type EtcdSettings = Readonly<z.output<z.ZodObject<ReturnType<typeof etcdSettings>>>>

export type ReplicationOptions = Readonly<
  z.output<z.ZodObject<ReturnType<typeof replicationSettings>>>
>

interface Problem {
  readonly path: string[]
  readonly message: string
}

/** What does not go together. */
export function replicationProblems(
  { role, id }: { readonly role: BrokerRole; readonly id?: number | undefined },
  {
    master,
    accessKey,
    secretKey,
    inSyncReplicas,
    inSyncReplicasMin,
    enabled,
    etcd,
  }: ReplicationOptions & {
    readonly enabled: boolean
    readonly etcd: EtcdSettings
  },
): Problem[] {
  const problems: Problem[] = []
  const add = (setting: string, message: string): void => {
    problems.push({ path: setting.split('.'), message })
  }
  if (role === 'SLAVE' && master === undefined) {
    add('replication.master', 'a SLAVE needs the address of its master')
  }
  const isElected = etcd.endpoints.length > 0
  if (!isElected && id !== undefined && (role === 'SLAVE') !== id > 0) {
    add('broker.id', 'a master has 0, a slave 1 or more')
  }
  if (isElected) {
    if (role !== 'SYNC_MASTER') {
      const text = 'with replication.etcd.endpoints every copy is a SYNC_MASTER, once it is elected'
      add('broker.role', text)
    }
    if (id === undefined || id < 1) {
      add('broker.id', 'with replication.etcd.endpoints each copy has its own, 1 or more')
    }
    if (master !== undefined) {
      add('replication.master', 'with replication.etcd.endpoints the master is elected')
    }
  }
  if (!isElected && (etcd.founds || etcd.user !== undefined)) {
    add('replication.etcd.endpoints', 'without them no master is elected: name the members of etcd')
  }
  if ((etcd.user === undefined) !== (etcd.password === undefined)) {
    add('replication.etcd.user', 'it goes with replication.etcd.password')
  }
  const hasSlaves = isElected || Math.max(inSyncReplicas, inSyncReplicasMin) > 1
  if (role === 'SYNC_MASTER' && !enabled && hasSlaves) {
    add('replication.enabled', 'a SYNC_MASTER needs it, for its slaves come there')
  }
  if ((accessKey === undefined) !== (secretKey === undefined)) {
    add('replication.accessKey', 'it goes with replication.secretKey')
  }
  return problems
}
