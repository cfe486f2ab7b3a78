// One password as text that can be kept: scrypt with its cost and salt. Knows no users.
import {
  type BinaryLike,
  randomBytes,
  type ScryptOptions,
  scrypt,
  timingSafeEqual,
} from 'node:crypto'
import { BrokerError } from '../../errors.ts'

export interface PasswordHash {
  readonly cost: number
  readonly blockSize: number
  readonly parallel: number
  readonly salt: Buffer
  readonly hash: Buffer
}

/** 32 MiB and about 60 ms of one core per check. */
const COST = 32_768
const BLOCK_SIZE = 8
const PARALLEL = 1
const SALT_BYTES = 16
const HASH_BYTES = 32
/** The memory that one check may take, whatever cost the stored hash asks for. */
const MEMORY_BYTES_MAX = 256 * 1024 * 1024

/** @throws BrokerError CONFIG_INVALID */
export function parsePasswordHash(text: string): PasswordHash {
  const [scheme, cost, blockSize, parallel, salt, hash, ...more] = text.split(':')
  const parsed: PasswordHash = {
    cost: Number(cost),
    blockSize: Number(blockSize),
    parallel: Number(parallel),
    salt: Buffer.from(salt ?? '', 'base64'),
    hash: Buffer.from(hash ?? '', 'base64'),
  }
  const isSound =
    scheme === 'scrypt' &&
    more.length === 0 &&
    parsed.cost >= 2 &&
    Number.isInteger(Math.log2(parsed.cost)) &&
    parsed.blockSize >= 1 &&
    parsed.parallel >= 1 &&
    parsed.parallel <= 16 &&
    memoryBytes(parsed) <= MEMORY_BYTES_MAX &&
    parsed.salt.length >= 8 &&
    parsed.hash.length >= 16
  if (isSound) return parsed
  throw new BrokerError(
    'CONFIG_INVALID',
    'a password hash is not scrypt:N:r:p:salt:hash with N a power of two; make one with: trivet hash-password',
  )
}

export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES)
  const made = { cost: COST, blockSize: BLOCK_SIZE, parallel: PARALLEL, salt }
  const hash = await derive(password, { ...made, hash: Buffer.alloc(HASH_BYTES) })
  return `scrypt:${COST}:${BLOCK_SIZE}:${PARALLEL}:${salt.toString('base64')}:${hash.toString('base64')}`
}

/** Of no password that anyone knows, and as dear to check as the given one, or as a new one. */
export const dummyOf = (
  like: Omit<PasswordHash, 'salt' | 'hash'> = {
    cost: COST,
    blockSize: BLOCK_SIZE,
    parallel: PARALLEL,
  },
): PasswordHash => ({
  cost: like.cost,
  blockSize: like.blockSize,
  parallel: like.parallel,
  salt: randomBytes(SALT_BYTES),
  hash: randomBytes(HASH_BYTES),
})

/** In the thread pool; compared in constant time. */
export async function isPassword(password: string, kept: PasswordHash): Promise<boolean> {
  return timingSafeEqual(await derive(password, kept), kept.hash)
}

const memoryBytes = (kept: PasswordHash): number => 128 * kept.cost * kept.blockSize

function derive(password: BinaryLike, kept: PasswordHash): Promise<Buffer> {
  const options: ScryptOptions = {
    N: kept.cost,
    r: kept.blockSize,
    p: kept.parallel,
    maxmem: memoryBytes(kept) + 1024 * 1024,
  }
  return new Promise((resolve, reject) => {
    scrypt(password, kept.salt, kept.hash.length, options, (error, hash) =>
      error ? reject(error) : resolve(hash),
    )
  })
}
