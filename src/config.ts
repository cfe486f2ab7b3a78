// The one strict schema of everything an operator may set, and loading it: defaults < file <
// environment < flags. Declares values and limits with their units; decides nothing.

// Before all schemas.
import './schema.ts'
import { existsSync, readFileSync } from 'node:fs'
import { z } from 'zod'
import { jwtProblems, jwtSettings } from './access/options.ts'
import { SCRAM_PATTERN } from './access/secrets/scram-keys.ts'
import { BROKER_DEFAULTS, brokerSettings } from './broker/options.ts'
import { clusterSettings, credentialProblems } from './cluster/options.ts'
import { BrokerError } from './errors.ts'
import { amqpSettings } from './gateway/amqp/options.ts'
import { httpSettings } from './gateway/http/options.ts'
import { mqttSettings } from './gateway/mqtt/options.ts'
import { fillInSizes, sizeProblems } from './message-sizes.ts'
import { isAddress } from './model/host.ts'
import {
  proxySettings,
  type TlsSetting,
  tlsMode,
  tlsProblems,
  tlsSettings,
  webSocketSettings,
} from './net/options.ts'
import {
  BROKER_ROLES,
  etcdSettings,
  replicationProblems,
  replicationSettings,
} from './replication/options.ts'
import { isSwitch, lazyJsonSchema, leavesOf } from './schema.ts'
import {
  CONFIG_FILE_ENV,
  type Declaration,
  type JsonSchema,
  type Layered,
  layer,
  type Setting,
  settingAt,
} from './settings.ts'
import { tracingSettings } from './tracing/options.ts'

const port = (fallback: number) =>
  z.int().min(0).max(65_535).default(fallback).describe('TCP port; 0 takes a free one.')

/**
 * RocketMQ's clients connect to servers they may need later, and its own servers wait two minutes.
 */
const NATIVE_SILENT_MS = 120_000
/** MQTT and AMQP clients have nothing to wait for before they speak. */
const SILENT_MS = 10_000

const limit = (least: number, fallback: number, words: string) =>
  z.int().min(least).default(fallback).describe(words)

/** The settings of an address and its limits, the same schemas for all addresses. */
function addressSettings() {
  const address = {
    host: z
      .string()
      .min(1)
      .default('127.0.0.1')
      .describe('Address to bind. Anything but loopback needs `users`.'),
    tls: tlsMode(),
    advertisedHost: z
      .string()
      .min(1)
      .optional()
      .describe('Host name or address that clients are told to connect to; default: `host`.'),
    connectionsMax: limit(1, 20_000, 'Open connections in total.'),
    connectionsPerAddressMax: limit(
      1,
      10_000,
      'Open connections from one remote address; of IPv6, from one network of 64 bits.',
    ),
    unsentBytesMax: limit(
      65_536,
      64 * 1024 * 1024,
      'Bytes waiting in one connection for a slow reader; beyond, it is closed.',
    ),
    writeStallMs: limit(
      100,
      30_000,
      'A connection that takes none of its waiting bytes for this long is closed.',
    ),
  }
  const silent = (ms: number) =>
    limit(100, ms, 'A new connection that sends nothing for this long is closed.')
  return {
    enabled: z.boolean().default(true).describe('Serve it at all.'),
    native: { ...address, silentMs: silent(NATIVE_SILENT_MS) },
    other: { ...address, silentMs: silent(SILENT_MS) },
  }
}

type AddressSettings = ReturnType<typeof addressSettings>

/** The settings that every listening front-end has. */
const listening = (
  portDefault: number,
  enabled: AddressSettings['enabled'],
  address: AddressSettings['native'],
) => ({ enabled, port: port(portDefault), ...address })

const grants = () =>
  z
    .array(
      z.string().regex(/^[^*]+\*?$|^\*$/, {
        error: 'not a name or a prefix with one `*` at its end',
      }),
    )
    .default([])

const userSettings = () =>
  z.strictObject({
    password: z
      .string()
      .regex(/^scrypt:\d+:\d+:\d+:[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+$/, {
        error: 'not a password hash; make one with: trivet hash-password',
      })
      .optional()
      .meta({
        secret: true,
        description: 'scrypt:N:r:p:salt:hash, made by `trivet hash-password`.',
      }),
    scram: z
      .string()
      .regex(SCRAM_PATTERN, {
        error: 'not keys for SCRAM; make them with: trivet hash-password --scram',
      })
      .optional()
      .meta({
        secret: true,
        description:
          'Of the same password, for SCRAM-SHA-256: made by `trivet hash-password --scram`.',
      }),
    secretKey: z.string().min(6).optional().meta({
      secret: true,
      description: "RocketMQ's ACL secret key; the user name is its access key.",
    }),
    admin: z.boolean().default(false).describe('May do everything.'),
    publish: grants().describe('Topics to send to: names, or a prefix and `*`.'),
    consume: grants().describe('Topics and groups to consume: names, or a prefix and `*`.'),
    create: grants().describe('Topics that may be created: names, or a prefix and `*`.'),
  })

/** Of the process. */
const processSettings = () => ({
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
})

/** Of the log. */
const storeSettings = () => ({
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
})

/** Of the broker, and of the cluster that a gateway stands before. */
const brokerSections = () => ({
  broker: z
    .strictObject({
      clusterName: z
        .string()
        .min(1)
        .default(BROKER_DEFAULTS.clusterName)
        .describe('As in RocketMQ.'),
      name: z
        .string()
        .min(1)
        .default(BROKER_DEFAULTS.brokerName)
        .describe('Unique per master in the cluster.'),
      role: z
        .enum(BROKER_ROLES)
        .default('ASYNC_MASTER')
        .describe(
          'What it is to its copies: `SYNC_MASTER` waits for slaves before it acknowledges; a `SLAVE` follows `replication.master`.',
        ),
      id: z
        .int()
        .min(0)
        .max(1_000_000)
        .optional()
        .describe(
          "RocketMQ's `brokerId`: of a master 0, of each slave another one; default: 0 or 1.",
        ),
      nameServers: z
        .array(z.string().refine(isAddress, { error: 'not host:port' }))
        .default([])
        .describe('Name servers to register with besides the one in this process (host:port).'),
      nameServersTls: z
        .boolean()
        .default(false)
        .describe(
          'Register with `broker.nameServers` over TLS; `tls.ca` names their CAs, `tls.certificate` is shown.',
        ),
      autoCreateTopics: z
        .union([z.boolean(), z.literal('loopback')])
        .default('loopback')
        .describe('Create topics on first use; `loopback`: while every listener is loopback.'),
      ...brokerSettings(),
    })
    .prefault({})
    .describe('The broker of this process.'),
  cluster: z
    .strictObject({
      nameServers: z
        .array(z.string().refine(isAddress, { error: 'not host:port' }))
        .default(['127.0.0.1:9876'])
        .describe('Name servers of the cluster (host:port).'),
      ...clusterSettings(),
    })
    .prefault({})
    .describe('The cluster that `trivet gateway` stands before: of Apache RocketMQ, or of ours.'),
})

/** Of the front-ends, each with its address. */
const frontEndSections = ({ enabled, native, other }: AddressSettings) => ({
  nameServer: z
    .strictObject(listening(9876, enabled, native))
    .prefault({})
    .describe('The name server of this process.'),
  remoting: z
    .strictObject({
      ...listening(10_911, enabled, native),
      vipChannel: z
        .boolean()
        .default(true)
        .describe(
          "Listen two ports below as well: RocketMQ's VIP channel, for Java before 4.5.1 and the dashboard.",
        ),
    })
    .prefault({})
    .describe("RocketMQ's native protocol."),
  replication: z
    .strictObject({
      ...listening(10_912, enabled, other),
      enabled: z.boolean().default(false).describe('Take slaves at the port.'),
      ...replicationSettings(),
      etcd: z
        .strictObject(etcdSettings())
        .prefault({})
        .describe('etcd, by which copies elect their master.'),
    })
    .prefault({})
    .describe('Copies of the log on other machines.'),
  mqtt: z
    .strictObject({
      ...listening(1883, enabled, other),
      ...mqttSettings(),
    })
    .prefault({})
    .describe('MQTT 3.1, 3.1.1 and 5.'),
  amqp: z
    .strictObject({
      ...listening(5672, enabled, other),
      ...amqpSettings(),
    })
    .prefault({})
    .describe('AMQP 1.0.'),
  http: z
    .strictObject({
      ...listening(9877, enabled, other),
      ...httpSettings(),
    })
    .prefault({})
    .describe('HTTP: dashboard, health, metrics and the admin API.'),
  any: z
    .strictObject({
      port: z
        .int()
        .min(0)
        .max(65_535)
        .optional()
        .describe(
          'One TCP port for every protocol that is enabled, in place of their own; 0: a free one.',
        ),
      ...native,
    })
    .prefault({})
    .describe('Addresses for every protocol, told by the first byte of a connection.'),
})

/** Of connections, whatever their protocol. */
const connectionSections = () => ({
  listeners: z
    .array(
      z.strictObject({
        protocol: z.enum(['remoting', 'mqtt', 'amqp', 'http', 'any']),
        host: z.string().min(1).default('127.0.0.1'),
        port: port(0),
        path: z.string().min(1).optional().describe('Of a unix socket, in place of host and port.'),
        tls: tlsMode(),
      }),
    )
    .max(64)
    .default([])
    .describe(
      'Further addresses: {"protocol": "mqtt", "host": "127.0.0.1", "port": 1884}, with the limits of their protocol.',
    ),
  tls: z
    .strictObject(tlsSettings())
    .prefault({})
    .describe('TLS: the certificates of all listeners. The files are read again when they change.'),
  proxyProtocol: z
    .strictObject(proxySettings())
    .prefault({})
    .describe('The PROXY protocol, by which proxies say whose connections they pass on.'),
  webSocket: z
    .strictObject(webSocketSettings())
    .prefault({})
    .describe('WebSocket, for MQTT and AMQP.'),
  jwt: z
    .strictObject(jwtSettings())
    .prefault({})
    .describe('JSON Web Tokens, which clients show in the place of a password.'),
  tracing: z
    .strictObject(tracingSettings())
    .prefault({})
    .describe('Traces of messages by OpenTelemetry.'),
  users: z
    .record(z.string().min(1), userSettings())
    .default({})
    .describe('The users, by name. Without users every client may connect, from loopback only.'),
})

const plainSchema = () =>
  z.strictObject({
    ...processSettings(),
    ...storeSettings(),
    ...brokerSections(),
    ...frontEndSections(addressSettings()),
    ...connectionSections(),
  })

/**
 * Protocols with a section of the configuration, in the order in which they are opened and shown.
 */
export const PROTOCOLS = ['nameServer', 'remoting', 'mqtt', 'amqp', 'http'] as const

const tlsModes = (config: z.output<ReturnType<typeof plainSchema>>) => [
  ...[...PROTOCOLS, 'replication' as const, 'any' as const].map(
    (name): TlsSetting => [[name, 'tls'], config[name].tls],
  ),
  ...config.listeners.map(({ tls }, at): TlsSetting => [['listeners', at, 'tls'], tls]),
]

const configSchema = (plain: ReturnType<typeof plainSchema>) =>
  plain
    .superRefine((config, context) => {
      // A problem that follows from a value that is wrong by itself would hide that one.
      if (context.issues.length > 0) return
      const problems = [
        ...sizeProblems(config),
        ...tlsProblems(config, tlsModes(config)),
        ...credentialProblems(config.cluster),
        ...jwtProblems(config.jwt),
        ...replicationProblems(config.broker, config.replication),
      ]
      for (const problem of problems) context.addIssue({ code: 'custom', ...problem })
    })
    .transform(fillInSizes)

type ConfigSchema = ReturnType<typeof configSchema>
export type Config = z.output<ConfigSchema>
/** Before the defaults are filled in. */
export type ConfigInput = z.input<ConfigSchema>
export type ListeningConfig = Config['any']

function declare(): Declaration<ConfigSchema> {
  const plain = plainSchema()
  const schema = configSchema(plain)
  const settings = [...leavesOf(plain)].map(([path, leaf]) =>
    settingAt(path, isSwitch(leaf), lazyJsonSchema(leaf)),
  )
  return { schema, settings, jsonSchema: lazyJsonSchema(schema) }
}

/** A server needs it once, and its schemas are 1.5 MiB. */
let declaredBefore: WeakRef<Declaration<ConfigSchema>> | undefined

function declared(): Declaration<ConfigSchema> {
  let declaration = declaredBefore?.deref()
  if (declaration === undefined) {
    declaration = declare()
    declaredBefore = new WeakRef(declaration)
  }
  return declaration
}

export const configJsonSchema = (): JsonSchema => declared().jsonSchema()
export const allSettings = (): readonly Setting[] => declared().settings

/** Read when no file is named and it exists. */
const CONFIG_FILE_DEFAULT = 'trivet.json'

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
  const loaded = layer(declared(), {
    file,
    env: sources.env ?? {},
    flags: sources.flags ?? new Map(),
  })
  return { ...loaded, file: path }
}

/** The defaults with some values changed: for embedding and for tests. */
export function configOf(changed: ConfigInput = {}): Config {
  return layer(declared(), { file: { name: 'the options', content: changed } }).values
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
