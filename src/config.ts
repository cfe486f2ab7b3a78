// The one strict schema of everything an operator may set, and loading it: defaults < file <
// environment < flags. Declares values and limits with their units; decides nothing.
import { existsSync, readFileSync } from 'node:fs'
import { z } from 'zod'
import { BROKER_DEFAULTS } from './broker/options.ts'
import { BrokerError } from './errors.ts'
import { AMQP_DEFAULTS } from './gateway/amqp/options.ts'
import { MQTT_DEFAULTS } from './gateway/mqtt/options.ts'
import { splitAddress } from './model/host.ts'
import { BODY_BYTES_MAX, QUEUES_PER_TOPIC_MAX } from './model/limits.ts'
import { fillInSizes, sizeProblems } from './model/message-sizes.ts'
import { FILTER_BYTES_MAX, FILTER_LEVELS_MAX } from './model/topic-filter.ts'
import { CONFIG_FILE_ENV, jsonSchemaOf, type Layered, layer, settingsOf } from './settings.ts'

const port = (fallback: number) =>
  z.int().min(0).max(65_535).default(fallback).describe('TCP port; 0 takes a free one.')

const count = (fallback: number) => z.int().min(1).default(fallback)

/**
 * RocketMQ's clients connect to servers they may need later, and its own servers wait two minutes.
 */
const NATIVE_SILENT_MS = 120_000
/** MQTT and AMQP clients have nothing to wait for before they speak. */
const SILENT_MS = 10_000

function isAddress(text: string): boolean {
  try {
    splitAddress(text)
    return true
  } catch {
    return false
  }
}

/** The settings that every listening front-end has. */
const listening = (portDefault: number, silentMs: number) => ({
  enabled: z.boolean().default(true).describe('Listen at all.'),
  host: z
    .string()
    .min(1)
    .default('127.0.0.1')
    .describe('Address to bind. Anything but loopback needs `users`.'),
  port: port(portDefault),
  advertisedHost: z
    .string()
    .min(1)
    .optional()
    .describe('Host name or address that clients are told to connect to; default: `host`.'),
  connectionsMax: z.int().min(1).default(20_000).describe('Open connections in total.'),
  connectionsPerAddressMax: z
    .int()
    .min(1)
    .default(10_000)
    .describe('Open connections from one remote address; of IPv6, from one network of 64 bits.'),
  unsentBytesMax: z
    .int()
    .min(65_536)
    .default(64 * 1024 * 1024)
    .describe('Bytes waiting in one connection for a slow reader; beyond, it is closed.'),
  writeStallMs: z
    .int()
    .min(100)
    .default(30_000)
    .describe('A connection that takes none of its waiting bytes for this long is closed.'),
  silentMs: z
    .int()
    .min(100)
    .default(silentMs)
    .describe('A new connection that sends nothing for this long is closed.'),
})

const grants = () =>
  z
    .array(
      z.string().regex(/^[^*]+\*?$|^\*$/, {
        error: 'not a name or a prefix with one `*` at its end',
      }),
    )
    .default([])

const user = z.strictObject({
  password: z
    .string()
    .regex(/^scrypt:\d+:\d+:\d+:[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+$/, {
      error: 'not a password hash; make one with: trivet hash-password',
    })
    .optional()
    .meta({ secret: true, description: 'scrypt:N:r:p:salt:hash, made by `trivet hash-password`.' }),
  secretKey: z.string().min(6).optional().meta({
    secret: true,
    description: "RocketMQ's ACL secret key; the user name is its access key.",
  }),
  admin: z.boolean().default(false).describe('May do everything.'),
  publish: grants().describe('Topics to send to: names, or a prefix and `*`.'),
  consume: grants().describe('Topics and groups to consume: names, or a prefix and `*`.'),
  create: grants().describe('Topics that may be created: names, or a prefix and `*`.'),
})

const declared = z.strictObject({
  $schema: z.string().optional(),
  dataDir: z
    .string()
    .min(1)
    .default('./trivet-data')
    .describe('Directory of the log and its views, relative to the working directory.'),
  logLevel: z
    .enum(['silent', 'error', 'warn', 'info', 'debug', 'trace'])
    .default('info')
    .describe('Least severe log line to write to standard error.'),
  stopDeadlineMs: z
    .int()
    .min(100)
    .default(10_000)
    .describe('How long a stop waits for clients at most; silent ones are cut off after 250 ms.'),
  insecureOpenToTheNetwork: z
    .boolean()
    .default(false)
    .describe(
      'Bind beyond loopback without users: every client that reaches a port may do everything.',
    ),
  store: z
    .strictObject({
      flush: z
        .enum(['sync', 'async'])
        .default('sync')
        .describe('`sync`: acknowledged is on the disk; `async`: a power cut may cost 200 ms.'),
      segmentBytes: z
        .int()
        .min(1024 * 1024)
        .max(1024 * 1024 * 1024)
        .default(128 * 1024 * 1024)
        .describe('Size of one file of the log.'),
      retentionMs: z
        .int()
        .min(1000)
        .default(72 * 3_600_000)
        .describe(
          'A message is kept at least this long, unless size or a low disk takes it earlier.',
        ),
      retentionBytes: z
        .int()
        .min(16 * 1024 * 1024)
        .optional()
        .describe('The log is cut to this size from its old end; default: no limit but the disk.'),
      diskFreeBytesMin: z
        .int()
        .min(0)
        .default(0)
        .describe('With less free on the disk the oldest messages go before their time; 0: never.'),
    })
    .prefault({})
    .describe('The log and its views.'),
  nameServer: z
    .strictObject(listening(9876, NATIVE_SILENT_MS))
    .prefault({})
    .describe('The name server of this process.'),
  broker: z
    .strictObject({
      clusterName: z.string().min(1).default('DefaultCluster').describe('As in RocketMQ.'),
      name: z.string().min(1).default('broker-a').describe('Unique per master in the cluster.'),
      nameServers: z
        .array(z.string().refine(isAddress, { error: 'not host:port' }))
        .default([])
        .describe('Name servers to register with besides the one in this process (host:port).'),
      autoCreateTopics: z
        .union([z.boolean(), z.literal('loopback')])
        .default('loopback')
        .describe('Create topics on first use; `loopback`: while every listener is loopback.'),
      autoCreateGroups: z
        .boolean()
        .default(BROKER_DEFAULTS.autoCreateGroups)
        .describe('Create consumer groups on first use.'),
      queuesDefault: z
        .int()
        .min(1)
        .max(QUEUES_PER_TOPIC_MAX)
        .default(BROKER_DEFAULTS.queuesDefault)
        .describe('Queues of a topic that is created without a count.'),
      topicsMax: count(BROKER_DEFAULTS.topicsMax).describe('Topics, besides those of groups.'),
      groupsMax: count(BROKER_DEFAULTS.groupsMax).describe('Consumer groups.'),
      bodyBytesMax: z
        .int()
        .min(1024)
        .max(BODY_BYTES_MAX)
        .default(BROKER_DEFAULTS.bodyBytesMax)
        .describe("Body of one message, as RocketMQ's `maxMessageSize`; clients have one too."),
      delayMsMax: count(BROKER_DEFAULTS.delayMsMax).describe('Longest delay of a message.'),
      heldPullsMax: count(BROKER_DEFAULTS.heldPullsMax).describe('Pulls that wait at one time.'),
      heldReceivesMax: count(BROKER_DEFAULTS.heldReceivesMax).describe(
        'Receives that wait at one time.',
      ),
      // Each stands in the group's place on the queue, which is written and moved as a whole.
      inFlightMax: z
        .int()
        .min(1)
        .max(65_536)
        .default(BROKER_DEFAULTS.inFlightMax)
        .describe('Delivered and unsettled messages of one group on one queue.'),
      inFlightBytesMax: count(BROKER_DEFAULTS.inFlightBytesMax).describe(
        'Delivered and unsettled bytes of one group on one topic.',
      ),
      clientExpiryMs: count(BROKER_DEFAULTS.clientExpiryMs).describe(
        'A client that is silent this long is forgotten.',
      ),
      lockLeaseMs: count(BROKER_DEFAULTS.lockLeaseMs).describe(
        'A lock on an ordered queue that is not renewed this long is free.',
      ),
      cursorFlushMs: count(BROKER_DEFAULTS.cursorFlushMs).describe(
        'Acknowledgements and committed offsets are durable this long after at most.',
      ),
    })
    .prefault({})
    .describe('The broker of this process.'),
  remoting: z
    .strictObject({
      ...listening(10_911, NATIVE_SILENT_MS),
      vipChannel: z
        .boolean()
        .default(true)
        .describe(
          "Listen two ports below as well: RocketMQ's VIP channel, for Java before 4.5.1 and the dashboard.",
        ),
    })
    .prefault({})
    .describe("RocketMQ's native protocol."),
  mqtt: z
    .strictObject({
      ...listening(1883, SILENT_MS),
      packetBytesMax: z
        .int()
        .min(64 * 1024)
        .max(268_435_460)
        .optional()
        .describe('Largest packet after CONNECT; default: room for the largest body.'),
      connectTimeoutMs: z
        .int()
        .min(100)
        .default(MQTT_DEFAULTS.connectTimeoutMs)
        .describe('From the connection to a whole CONNECT.'),
      keepAliveSecondsMax: z
        .int()
        .min(0)
        .max(65_535)
        .default(MQTT_DEFAULTS.keepAliveSecondsMax)
        .describe(
          'MQTT 5 clients that ask for a longer keep alive, or none, get this; 0: as asked.',
        ),
      serverKeepAlive: z
        .int()
        .min(0)
        .max(65_535)
        .optional()
        .describe(
          "Seconds of keep alive that every MQTT 5 client is told to use; default: the client's own.",
        ),
      usernameAsClientId: z
        .boolean()
        .default(MQTT_DEFAULTS.usernameAsClientId)
        .describe(
          'The client id of a client that gives a user name is that name, whatever id it asks for.',
        ),
      sessionExpiryMs: z
        .int()
        .min(1000)
        .default(MQTT_DEFAULTS.sessionExpiryMs)
        .describe('How long a 3.1.1 session without the clean flag is kept without a connection.'),
      sessionExpiryMsMax: z
        .int()
        .min(0)
        .default(MQTT_DEFAULTS.sessionExpiryMsMax)
        .describe('The longest session expiry of MQTT 5 clients, whatever they ask for.'),
      sessionsMax: z
        .int()
        .min(1)
        .default(MQTT_DEFAULTS.sessionsMax)
        .describe('Sessions that are kept beyond their connections.'),
      filtersMax: z
        .int()
        .min(1)
        .default(MQTT_DEFAULTS.filtersMax)
        .describe('Topic filters of one session.'),
      inFlightMax: z
        .int()
        .min(1)
        .max(65_535)
        .default(MQTT_DEFAULTS.inFlightMax)
        .describe('Messages of QoS 1 and 2 on their way to one client.'),
      receiveMaximum: z
        .int()
        .min(1)
        .max(65_535)
        .default(MQTT_DEFAULTS.receiveMaximum)
        .describe(
          'Receive maximum for MQTT 5 clients: enforced for QoS 2, QoS 1 is slowed down instead.',
        ),
      topicAliasMax: z
        .int()
        .min(0)
        .max(65_535)
        .default(MQTT_DEFAULTS.topicAliasMax)
        .describe('Topic aliases that one MQTT 5 client may use for what it publishes.'),
      outboundTopicAliasMax: z
        .int()
        .min(0)
        .max(65_535)
        .default(MQTT_DEFAULTS.outboundTopicAliasMax)
        .describe(
          'Topic aliases used towards one MQTT 5 client that allows them; several clients cannot read them.',
        ),
      topicBytesMax: z
        .int()
        .min(256)
        .max(FILTER_BYTES_MAX)
        .default(MQTT_DEFAULTS.topicBytesMax)
        .describe('Length of a topic name or filter.'),
      topicLevelsMax: z
        .int()
        .min(8)
        .max(FILTER_LEVELS_MAX)
        .default(MQTT_DEFAULTS.topicLevelsMax)
        .describe('Levels of a topic name or filter.'),
      undeliveredBytesMax: z
        .int()
        .min(65_536)
        .default(MQTT_DEFAULTS.undeliveredBytesMax)
        .describe('Bytes on their way to one client, beyond which its messages wait in the log.'),
      unstoredBytesMax: z
        .int()
        .min(65_536)
        .default(MQTT_DEFAULTS.unstoredBytesMax)
        .describe('Bytes of one client on their way into the log, beyond which it is not read.'),
      invisibleMs: z
        .int()
        .min(1000)
        .default(MQTT_DEFAULTS.invisibleMs)
        .describe(
          'Lease of a message of a shared subscription; renewed while its client is there.',
        ),
      retainedMax: z
        .int()
        .min(0)
        .default(MQTT_DEFAULTS.retainedMax)
        .describe('Retained messages in total.'),
      retainedBytesMax: z
        .int()
        .min(0)
        .default(MQTT_DEFAULTS.retainedBytesMax)
        .describe('Bytes of retained messages in total.'),
    })
    .prefault({})
    .describe('MQTT 3.1, 3.1.1 and 5.'),
  amqp: z
    .strictObject({
      ...listening(5672, SILENT_MS),
      frameBytesMax: z
        .int()
        .min(4096)
        .max(1024 * 1024)
        .default(AMQP_DEFAULTS.frameBytesMax)
        .describe('Longest frame after the handshake; clients are told.'),
      messageBytesMax: z
        .int()
        .min(4096)
        .max(128 * 1024 * 1024)
        .optional()
        .describe('Longest whole message; clients are told. Default: room for the largest body.'),
      channelsMax: z
        .int()
        .min(1)
        .max(65_535)
        .default(AMQP_DEFAULTS.channelsMax)
        .describe('Sessions of one connection.'),
      linksPerSessionMax: z
        .int()
        .min(1)
        .max(65_535)
        .default(AMQP_DEFAULTS.linksPerSessionMax)
        .describe('Links of one session.'),
      handshakeMs: z
        .int()
        .min(100)
        .default(AMQP_DEFAULTS.handshakeMs)
        .describe('From the connection to `open`.'),
      idleMs: z
        .int()
        .min(1000)
        .default(AMQP_DEFAULTS.idleMs)
        .describe('A connection without a frame for this long is closed; clients are told half.'),
      sendAheadBytesMax: z
        .int()
        .min(65_536)
        .default(AMQP_DEFAULTS.sendAheadBytesMax)
        .describe('Bytes waiting for a slow reader, beyond which it is sent no more messages.'),
      unstoredBytesMax: z
        .int()
        .min(65_536)
        .default(AMQP_DEFAULTS.unstoredBytesMax)
        .describe('Bytes of one client on their way into the log, beyond which it is not read.'),
      unstoredBytesTotalMax: z
        .int()
        .min(65_536)
        .default(AMQP_DEFAULTS.unstoredBytesTotalMax)
        .describe('The same over all clients, beyond which none is granted credit.'),
      authFailureDelayMs: z
        .int()
        .min(0)
        .default(AMQP_DEFAULTS.authFailureDelayMs)
        .describe('Wrong credentials are answered this late.'),
      lockMs: z
        .int()
        .min(1000)
        .default(AMQP_DEFAULTS.lockMs)
        .describe('A message that its consumer does not settle within this is given to another.'),
    })
    .prefault({})
    .describe('AMQP 1.0.'),
  listeners: z
    .array(
      z.strictObject({
        protocol: z.enum(['remoting', 'mqtt', 'amqp']),
        host: z.string().min(1).default('127.0.0.1'),
        port: port(0),
      }),
    )
    .max(64)
    .default([])
    .describe(
      'Further addresses: {"protocol": "mqtt", "host": "127.0.0.1", "port": 1884}, with the limits of their protocol.',
    ),
  users: z
    .record(z.string().min(1), user)
    .default({})
    .describe('The users, by name. Without users every client may connect, from loopback only.'),
})

export const configSchema = declared
  .superRefine((config, context) => {
    // A problem that follows from a value that is wrong by itself would hide that one.
    if (context.issues.length > 0) return
    for (const problem of sizeProblems(config)) context.addIssue({ code: 'custom', ...problem })
  })
  .transform(fillInSizes)

export type Config = z.output<typeof configSchema>
/** Before the defaults are filled in. */
export type ConfigInput = z.input<typeof configSchema>
export type UserConfig = z.output<typeof user>
export type ListeningConfig = Config['nameServer']

export const configJsonSchema = jsonSchemaOf(configSchema)
export const settings = settingsOf(configJsonSchema)

/** Read when no file is named and it exists. */
export const CONFIG_FILE_DEFAULT = 'trivet.json'

export interface ConfigSources {
  /** --config; else TRIVET_CONFIG; else trivet.json when there is one. */
  readonly file?: string | undefined
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Setting flags without their dashes. */
  readonly flags?: ReadonlyMap<string, string>
}

export interface LoadedConfig extends Layered<Config> {
  /** Path of the file that was read. */
  readonly file: string | undefined
}

/** @throws BrokerError CONFIG_INVALID; the message lists every problem and what would do */
export function loadConfig(sources: ConfigSources = {}): LoadedConfig {
  const named = sources.file ?? sources.env?.[CONFIG_FILE_ENV]
  const path = named ?? (existsSync(CONFIG_FILE_DEFAULT) ? CONFIG_FILE_DEFAULT : undefined)
  const file = path === undefined ? undefined : { name: path, content: readJson(path) }
  const layered = layer(configSchema, configJsonSchema, {
    file,
    env: sources.env ?? {},
    flags: sources.flags ?? new Map(),
  })
  return { ...layered, file: path }
}

/** The defaults with some values changed: for embedding and for tests. */
export function configOf(changed: ConfigInput = {}): Config {
  return layer(configSchema, configJsonSchema, { file: { name: 'the options', content: changed } })
    .values
}

function readJson(path: string): unknown {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? String(error)
    throw new BrokerError(
      'CONFIG_INVALID',
      `the configuration file '${path}' cannot be read (${reason}); check the path and its permissions`,
      { cause: error },
    )
  }
  try {
    // Editors of Windows begin a file with a mark.
    return JSON.parse(text.replace(/^\uFEFF/, ''))
  } catch (error) {
    throw new BrokerError(
      'CONFIG_INVALID',
      `the configuration file '${path}' is not JSON: ${(error as Error).message}`,
      { cause: error },
    )
  }
}
