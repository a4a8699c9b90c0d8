// Kernels that share memory in the right order. Compiled by nvcc 13.0 for sm_80: -O3 to order_O3.ptx, without
// optimisation (-Xcicc -O0) to order_O0.ptx; blocks of 256 threads, 32 x 8 for transpose, 16 x 16 for tiled.
extern "C" __global__ void __launch_bounds__(256) reduce1(const float* x, float* o, int n){
  __shared__ float s[256];
  float a=0; for(int i=blockIdx.x*256+threadIdx.x;i<n;i+=gridDim.x*256) a+=x[i];
  s[threadIdx.x]=a; __syncthreads();
  for(int k=128;k>0;k>>=1){ if(threadIdx.x<k) s[threadIdx.x]+=s[threadIdx.x+k]; __syncthreads(); }
  if(threadIdx.x==0) o[blockIdx.x]=s[0];
}
extern "C" __global__ void __launch_bounds__(256) reduce2(const float* x, float* o, int n){
  __shared__ float s[8];
  float a=0; for(int i=threadIdx.x;i<n;i+=256) a+=x[blockIdx.x*(long)n+i];
  for(int k=16;k;k>>=1) a+=__shfl_xor_sync(-1u,a,k);
  if((threadIdx.x&31)==0) s[threadIdx.x>>5]=a; __syncthreads();
  if(threadIdx.x<32){ a=threadIdx.x<8?s[threadIdx.x]:0; for(int k=4;k;k>>=1) a+=__shfl_xor_sync(-1u,a,k); if(threadIdx.x==0) s[0]=a; }
  __syncthreads();
  a=s[0];
  for(int i=threadIdx.x;i<n;i+=256) o[blockIdx.x*(long)n+i]=x[blockIdx.x*(long)n+i]/a;
}
extern "C" __global__ void __launch_bounds__(256) transpose(const float* x, float* o, int w, int h){
  __shared__ float t[32][33];
  int i=blockIdx.x*32+threadIdx.x, j=blockIdx.y*32+threadIdx.y;
  for(int k=0;k<32;k+=8) if(i<w&&j+k<h) t[threadIdx.y+k][threadIdx.x]=x[(j+k)*w+i];
  __syncthreads();
  i=blockIdx.y*32+threadIdx.x; j=blockIdx.x*32+threadIdx.y;
  for(int k=0;k<32;k+=8) if(i<h&&j+k<w) o[(j+k)*h+i]=t[threadIdx.x][threadIdx.y+k];
}
extern "C" __global__ void __launch_bounds__(256) tiled(const float* a,const float* b,float* c,int n){
  __shared__ float A[16][16],B[16][16];
  int ty=threadIdx.y,tx=threadIdx.x,r=blockIdx.y*16+ty,q=blockIdx.x*16+tx; float s=0;
  for(int t=0;t<n/16;t++){ A[ty][tx]=a[r*n+t*16+tx]; B[ty][tx]=b[(t*16+ty)*n+q]; __syncthreads();
    for(int k=0;k<16;k++) s+=A[ty][k]*B[k][tx]; __syncthreads(); }
  c[r*n+q]=s;
}
extern "C" __global__ void __launch_bounds__(256) hist(const unsigned char* x,int* o,int n){
  __shared__ int s[256]; s[threadIdx.x]=0; __syncthreads();
  for(int i=blockIdx.x*256+threadIdx.x;i<n;i+=gridDim.x*256) atomicAdd(&s[x[i]],1);
  __syncthreads(); atomicAdd(&o[threadIdx.x],s[threadIdx.x]);
}
extern "C" __global__ void __launch_bounds__(256) scan(const float* x,float* o){
  __shared__ float s[2][256]; int p=0,t=threadIdx.x; s[0][t]=x[blockIdx.x*256+t]; __syncthreads();
  for(int d=1;d<256;d*=2){ p=1-p; s[p][t]= t>=d ? s[1-p][t]+s[1-p][t-d] : s[1-p][t]; __syncthreads(); }
  o[blockIdx.x*256+t]=s[p][t];
}
__device__ __noinline__ float warp_sum(float v){ for(int k=16;k;k>>=1) v+=__shfl_xor_sync(-1u,v,k); return v; }
__device__ __noinline__ float block_sum(float v, float* s){ v=warp_sum(v); if((threadIdx.x&31)==0) s[threadIdx.x>>5]=v; __syncthreads(); float r=0; for(int i=0;i<8;i++) r+=s[i]; __syncthreads(); return r; }
extern "C" __global__ void __launch_bounds__(256) calls(const float* x,float* o,int n){
  __shared__ float s[8]; float v=x[blockIdx.x*256+threadIdx.x]; float m=block_sum(v,s); float q=block_sum(v*v,s); o[blockIdx.x*256+threadIdx.x]=(v-m)/q;
}
