// The settings of the AMQP front-end: their bounds, defaults and meaning. Limits that no operator
// needs to move are in limits.ts.
import { z } from 'zod'
import { BODY_BYTES_DEFAULT } from '../../model/limits.ts'

const MIB = 1024 * 1024
/** The other sections of a message whose body is as large as bodies get. */
const SECTIONS_BYTES = 128 * 1024

export const amqpSettings = () => ({
  frameBytesMax: z
    .int()
    .min(4096)
    .max(1024 * 1024)
    .default(64 * 1024)
    .describe('Longest frame after the handshake; clients are told.'),
  messageBytesMax: z
    .int()
    .min(4096)
    .max(128 * 1024 * 1024)
    .optional()
    .describe('Longest whole message; clients are told. Default: room for the largest body.'),
  channelsMax: z.int().min(1).max(65_535).default(64).describe('Sessions of one connection.'),
  linksPerSessionMax: z.int().min(1).max(65_535).default(256).describe('Links of one session.'),
  handshakeMs: z.int().min(100).default(10_000).describe('From the connection to `open`.'),
  idleMs: z
    .int()
    .min(1000)
    .default(60_000)
    .describe('A connection without a frame for this long is closed; clients are told half.'),
  sendAheadBytesMax: z
    .int()
    .min(65_536)
    .default(MIB)
    .describe('Bytes waiting for a slow reader, beyond which it is sent no more messages.'),
  unstoredBytesMax: z
    .int()
    .min(65_536)
    .default(16 * MIB)
    .describe('Bytes of one client on their way into the log, beyond which it is not read.'),
  unstoredBytesTotalMax: z
    .int()
    .min(65_536)
    .default(64 * MIB)
    .describe('The same over all clients, beyond which none is granted credit.'),
  authFailureDelayMs: z
    .int()
    .min(0)
    .default(500)
    .describe('Wrong credentials are answered this late.'),
  lockMs: z
    .int()
    .min(1000)
    .default(15 * 60_000)
    .describe('A message that its consumer does not settle within this is given to another.'),
  transactionMs: z
    .int()
    .min(1000)
    .default(5 * 60_000)
    .describe('A transaction is rolled back this long after its first message or outcome.'),
})

type Settings = Readonly<z.output<z.ZodObject<ReturnType<typeof amqpSettings>>>>

export interface AmqpOptions extends Settings {
  readonly messageBytesMax: number
}

export const AMQP_DEFAULTS: AmqpOptions = {
  ...z.object(amqpSettings()).parse({}),
  messageBytesMax: BODY_BYTES_DEFAULT + SECTIONS_BYTES,
}
