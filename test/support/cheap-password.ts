// Passwords as the configuration keeps them, at the least cost: tests check many.
import { randomBytes, scryptSync } from 'node:crypto'

const COST = 16
const BLOCK_SIZE = 8
const HASH_BYTES = 32

export function cheapHash(password: string): string {
  const salt = randomBytes(16)
  const hash = scryptSync(password, salt, HASH_BYTES, { N: COST, r: BLOCK_SIZE, p: 1 })
  return `scrypt:${COST}:${BLOCK_SIZE}:1:${salt.toString('base64')}:${hash.toString('base64')}`
}
