// The settings of a gateway before a cluster, and what a Broker port over one is told.
import { z } from 'zod'
import { BODY_BYTES_DEFAULT, BODY_BYTES_MAX, QUEUES_PER_TOPIC_MAX } from '../model/limits.ts'
import type { DialOptions } from '../remoting/connection.ts'
import type { Credentials } from '../remoting/signature.ts'

export const clusterSettings = () => ({
  tls: z
    .boolean()
    .default(false)
    .describe('Reach name servers and brokers over TLS; `tls.ca` names their CAs.'),
  accessKey: z
    .string()
    .min(1)
    .optional()
    .describe("The gateway's own user at the brokers; with `cluster.secretKey`."),
  secretKey: z
    .string()
    .min(6)
    .optional()
    .meta({ secret: true, description: "That user's secret key." }),
  connectTimeoutMs: z.int().min(100).default(3_000).describe('To dial a server.'),
  requestTimeoutMs: z
    .int()
    .min(100)
    .default(3_000)
    .describe('For the answer of a broker to one request, which is tried again after that.'),
  publishTimeoutMs: z
    .int()
    .min(100)
    .default(10_000)
    .describe('A message that no broker has taken by then is refused.'),
  acceptStatus: z
    .enum(['any', 'flushed', 'replicated'])
    .default('any')
    .describe(
      'Which answer of a broker acknowledges a message: any; not that its disk has it not yet; ' +
        'nor that no slave has it yet.',
    ),
  bodyBytesMax: z
    .int()
    .min(1024)
    .max(BODY_BYTES_MAX)
    .default(BODY_BYTES_DEFAULT)
    .describe("Body of one message; the brokers' own `maxMessageSize` holds too."),
  createTopics: z.boolean().default(true).describe('Create topics on first use.'),
  createGroups: z.boolean().default(true).describe('Create consumer groups on first use.'),
  queuesDefault: z
    .int()
    .min(1)
    .max(QUEUES_PER_TOPIC_MAX)
    .default(8)
    .describe('Queues on each master of a topic that is created.'),
})

/** Either alone would mean that the gateway signs nothing. */
export function credentialProblems({
  accessKey,
  secretKey,
}: Pick<Settings, 'accessKey' | 'secretKey'>): { path: string[]; message: string }[] {
  if ((accessKey === undefined) === (secretKey === undefined)) return []
  const [given, due] =
    secretKey === undefined ? ['accessKey', 'secretKey'] : ['secretKey', 'accessKey']
  return [{ path: ['cluster', due!], message: `is due beside cluster.${given}` }]
}

type Settings = z.output<z.ZodObject<ReturnType<typeof clusterSettings>>>

/** The answers of a broker that acknowledge a message. */
export type AcceptStatus = Settings['acceptStatus']

export interface ClusterOptions extends Omit<Settings, 'tls' | 'accessKey' | 'secretKey'> {
  /** `host:port` each; they hold the same. */
  readonly nameServers: readonly string[]
  readonly credentials?: Credentials | undefined
  readonly tls?: DialOptions['tls']
}

export const CLUSTER_DEFAULTS = z.object(clusterSettings()).parse({})
