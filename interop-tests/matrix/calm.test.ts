import { matrixTests } from './cells.ts'

matrixTests({ crash: false })
