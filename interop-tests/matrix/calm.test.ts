import { matrixTests } from './cells.ts'

matrixTests({ kills: 0 })
