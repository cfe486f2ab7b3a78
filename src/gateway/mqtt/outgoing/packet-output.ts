// The output of one MQTT connection. Packets that promise something about the session are held
// back until it is saved, and those behind them with them.
import { BLOCK_BYTES, Output } from '../../../output.ts'

const NO_BYTES = Buffer.alloc(0)

export class PacketOutput extends Output {
  /** Full pieces that wait for the turn's end. */
  #pieces: Buffer[] = []
  /** Packets that wait for a session or message to become durable first. */
  #sealed: Buffer[] = []
  #pieceBytes = 0
  #sealedBytes = 0

  override get pendingBytes(): number {
    return this.#pieceBytes + this.#sealedBytes + this.at
  }

  /** PUBACK, PUBREC, PUBREL or PUBCOMP with success. */
  appendAck(first: number, packetId: number): void {
    const block = this.reserve(4)
    block[this.at] = first
    block[this.at + 1] = 2
    block[this.at + 2] = packetId >>> 8
    block[this.at + 3] = packetId
    this.at += 4
  }

  override flush(): void {
    for (const piece of this.#pieces) super.pass(piece)
    this.#pieces.length = 0
    this.#pieceBytes = 0
    super.flush()
  }

  /** Sets aside what was written so far, until `flushSealed`. */
  seal(): void {
    this.makeRoom()
    this.letGo()
    this.#sealed = this.#pieces
    this.#sealedBytes = this.#pieceBytes
    this.#pieces = []
    this.#pieceBytes = 0
  }

  flushSealed(): void {
    for (const piece of this.#sealed) super.pass(piece)
    this.#sealed = []
    this.#sealedBytes = 0
  }

  override discard(): void {
    super.discard()
    this.#pieces = []
    this.#sealed = []
    this.#pieceBytes = 0
    this.#sealedBytes = 0
  }

  protected override makeRoom(): void {
    if (this.at === 0) return
    const bytes = this.block.subarray(0, this.at)
    const isSmall = this.at < BLOCK_BYTES / 2
    this.pass(isSmall ? Buffer.from(bytes) : bytes)
    if (!isSmall) this.block = NO_BYTES
    this.at = 0
  }

  protected override pass(piece: Buffer): void {
    this.#pieces.push(piece)
    this.#pieceBytes += piece.length
  }
}
