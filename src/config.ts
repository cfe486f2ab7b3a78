// The one strict schema of everything an operator may set, and loading it: defaults < file <
// environment < flags. Declares values and limits with their units; decides nothing.
import { existsSync, readFileSync } from 'node:fs'
import { z } from 'zod'
import { BrokerError } from './errors.ts'
import { CONFIG_FILE_ENV, jsonSchemaOf, type Layered, layer, settingsOf } from './settings.ts'

const port = (fallback: number) =>
  z.int().min(0).max(65_535).default(fallback).describe('TCP port; 0 takes a free one.')

/** What every listening front-end has. */
const listening = (portDefault: number) => ({
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
    .describe('Open connections from one remote address.'),
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
    .default(10_000)
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

export const configSchema = z.strictObject({
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
    .describe('How long a stop waits for connections to say goodbye.'),
  insecureOpenToTheNetwork: z
    .boolean()
    .default(false)
    .describe('Bind beyond loopback without users: anyone who reaches a port may do everything.'),
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
        .describe('A message is kept at least this long.'),
      retentionBytes: z
        .int()
        .min(16 * 1024 * 1024)
        .optional()
        .describe('The log is cut to this size from its old end; default: no limit but the disk.'),
    })
    .prefault({})
    .describe('The log and its views.'),
  nameServer: z
    .strictObject(listening(9876))
    .prefault({})
    .describe('The name server of this process.'),
  broker: z
    .strictObject({
      clusterName: z.string().min(1).default('DefaultCluster').describe('As in RocketMQ.'),
      name: z.string().min(1).default('broker-a').describe('Unique per master in the cluster.'),
      nameServers: z
        .array(z.string())
        .default([])
        .describe('Name servers to register with besides the one in this process (host:port).'),
      autoCreateTopics: z
        .union([z.boolean(), z.literal('loopback')])
        .default('loopback')
        .describe('Create topics on first use; `loopback`: while every listener is loopback.'),
    })
    .prefault({})
    .describe('The broker of this process.'),
  remoting: z.strictObject(listening(10_911)).prefault({}).describe("RocketMQ's native protocol."),
  mqtt: z.strictObject(listening(1883)).prefault({}).describe('MQTT 3.1.1 and 5.'),
  amqp: z.strictObject(listening(5672)).prefault({}).describe('AMQP 1.0.'),
  users: z
    .record(z.string().min(1), user)
    .default({})
    .describe('Who may connect, by user name. Empty: everyone, from loopback only.'),
})

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
    return JSON.parse(text)
  } catch (error) {
    throw new BrokerError(
      'CONFIG_INVALID',
      `the configuration file '${path}' is not JSON: ${(error as Error).message}`,
      { cause: error },
    )
  }
}
