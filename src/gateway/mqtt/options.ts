// The settings of the MQTT front-end: their bounds, defaults and meaning.
import { z } from 'zod'
import { BODY_BYTES_DEFAULT } from '../../model/limits.ts'
import { FILTER_BYTES_MAX, FILTER_LEVELS_MAX } from '../../model/topic-filter.ts'

const MINUTE_MS = 60_000
const DAY_MS = 24 * 60 * MINUTE_MS
const MIB = 1024 * 1024
/** Topic name and properties of a message whose body is as large as bodies get. */
const HEADER_BYTES = 128 * 1024

const connectionSettings = () => ({
  engine: z
    .enum(['own', 'aedes'])
    .default('own')
    .describe(
      'What serves MQTT: `own`, or the package `aedes`, which has no MQTT 5 and no shared subscriptions.',
    ),
  packetBytesMax: z
    .int()
    .min(64 * 1024)
    .max(268_435_460)
    .optional()
    .describe('Largest packet after CONNECT; default: room for the largest body.'),
  connectTimeoutMs: z
    .int()
    .min(100)
    .default(5_000)
    .describe('From the connection to a whole CONNECT.'),
  keepAliveSecondsMax: z
    .int()
    .min(0)
    .max(65_535)
    .default(0)
    .describe('MQTT 5 clients that ask for a longer keep alive, or none, get this; 0: as asked.'),
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
    .default(false)
    .describe(
      'The client id of a client that gives a user name is that name, whatever id it asks for.',
    ),
})

const sessionSettings = () => ({
  sessionExpiryMs: z
    .int()
    .min(1000)
    .default(7 * DAY_MS)
    .describe('How long a 3.1.1 session without the clean flag is kept without a connection.'),
  sessionExpiryMsMax: z
    .int()
    .min(0)
    .default(365 * DAY_MS)
    .describe('The longest session expiry of MQTT 5 clients, whatever they ask for.'),
  sessionsMax: z
    .int()
    .min(1)
    .default(100_000)
    .describe('Sessions that are kept beyond their connections.'),
  filtersMax: z.int().min(1).default(1_000).describe('Topic filters of one session.'),
  inFlightMax: z
    .int()
    .min(1)
    .max(65_535)
    .default(256)
    .describe('Messages of QoS 1 and 2 on their way to one client.'),
  receiveMaximum: z
    .int()
    .min(1)
    .max(65_535)
    .default(256)
    .describe(
      'Receive maximum for MQTT 5 clients: enforced for QoS 2, QoS 1 is slowed down instead.',
    ),
})

const messageSettings = () => ({
  topicAliasMax: z
    .int()
    .min(0)
    .max(65_535)
    .default(64)
    .describe('Topic aliases that one MQTT 5 client may use in its PUBLISHes.'),
  // Clients are in use that allow aliases and then hand their user an empty topic.
  outboundTopicAliasMax: z
    .int()
    .min(0)
    .max(65_535)
    .default(0)
    .describe(
      'Topic aliases used towards one MQTT 5 client that allows them; several clients cannot read them.',
    ),
  topicBytesMax: z
    .int()
    .min(256)
    .max(FILTER_BYTES_MAX)
    .default(FILTER_BYTES_MAX)
    .describe('Length of a topic name or filter.'),
  topicLevelsMax: z
    .int()
    .min(8)
    .max(FILTER_LEVELS_MAX)
    .default(200)
    .describe('Levels of a topic name or filter.'),
  undeliveredBytesMax: z
    .int()
    .min(65_536)
    .default(MIB)
    .describe('Bytes on their way to one client, beyond which its messages wait in the log.'),
  unstoredBytesMax: z
    .int()
    .min(65_536)
    .default(4 * MIB)
    .describe('Bytes of one client on their way into the log, beyond which it is not read.'),
  invisibleMs: z
    .int()
    .min(1000)
    .default(MINUTE_MS)
    .describe('Lease of a message of a shared subscription; renewed while its client is there.'),
  retainedMax: z.int().min(0).default(100_000).describe('Retained messages in total.'),
  retainedBytesMax: z
    .int()
    .min(0)
    .default(256 * MIB)
    .describe('Bytes of retained messages in total.'),
})

export const mqttSettings = () => ({
  ...connectionSettings(),
  ...sessionSettings(),
  ...messageSettings(),
})

type Settings = Readonly<z.output<z.ZodObject<ReturnType<typeof mqttSettings>>>>

export interface MqttOptions extends Settings {
  readonly packetBytesMax: number
}

export const MQTT_DEFAULTS: MqttOptions = {
  ...z.object(mqttSettings()).parse({}),
  packetBytesMax: BODY_BYTES_DEFAULT + HEADER_BYTES,
}
